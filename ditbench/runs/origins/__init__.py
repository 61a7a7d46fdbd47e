"""What a run starts from, if not from random weights: a finished run, or a file of weights."""
