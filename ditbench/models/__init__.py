"""The diffusion transformer, its conditioning blocks and their cost. Importing it is fast."""
