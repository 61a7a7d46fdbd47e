"""Speed: training steps and sampling, timed beside other implementations."""
