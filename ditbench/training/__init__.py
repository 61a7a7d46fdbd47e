"""Training of one model: the loop, its state, and the backends that compute a step."""
