"""Speed: training steps and sampling, compared with other implementations."""
