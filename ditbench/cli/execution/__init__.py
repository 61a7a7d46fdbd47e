"""How runs are executed: workers, GPUs, Slurm, the forecast, the end after a signal."""
