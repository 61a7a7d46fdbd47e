"""Blocks written by users: in a file, a module or an installed package."""
