"""The wing that tells: run directories to tables and figures. Torch-free; importing it is cheap."""
