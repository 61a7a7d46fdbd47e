"""How a step is computed: backends, precision, CUDA graphs, and the clock of a device."""
