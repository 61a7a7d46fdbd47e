"""Published weights: read from files, matched to a model by name and shape, and written."""
