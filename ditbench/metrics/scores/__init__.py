"""The metrics: each file has a score of samples, computed from their features."""
