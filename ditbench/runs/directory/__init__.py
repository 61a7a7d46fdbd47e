"""The run directory of a run: locked, opened, reopened, and what is written into its records."""
