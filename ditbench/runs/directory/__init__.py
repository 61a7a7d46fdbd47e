"""The run directory of a run: locked, opened again, and what is written into its records."""
