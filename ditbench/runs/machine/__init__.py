"""The machine of a run: its device and versions, peak memory, and errors that come from it."""
