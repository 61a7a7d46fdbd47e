"""Where runs execute, other than in the process of the command: workers, torchrun, Slurm."""
