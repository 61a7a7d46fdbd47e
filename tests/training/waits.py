"""Steps during which the host must not wait for the GPU."""

import torch


def update_without_waiting(trainer):
    """Make steps: past the first epoch's permutation and every lazy initialisation, none waits."""
    for _ in range(16):
        trainer.update()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            trainer.update()
    finally:
        torch.cuda.set_sync_debug_mode("default")
