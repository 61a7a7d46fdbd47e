"""Learning-rate sweeps: read, chosen from, shown."""
