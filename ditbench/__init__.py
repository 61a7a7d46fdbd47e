"""A fair comparison of the ways to tell a diffusion transformer its timestep and class."""

__version__ = "0.1.0"
