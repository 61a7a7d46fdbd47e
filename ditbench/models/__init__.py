"""The diffusion transformer, its conditioning strategies and their cost. Importing it is cheap."""
