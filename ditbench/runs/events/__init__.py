"""The events of a run, and who receives them: the terminal and trackers of experiments."""
