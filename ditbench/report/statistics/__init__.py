"""What the final FIDs of runs show, and how certain it is."""
