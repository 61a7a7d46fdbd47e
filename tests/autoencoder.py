"""A tiny AutoencoderKL with random weights, as diffusers saves one."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from ditbench.data.latents.vae import Vae


def tiny(seed=0, **config):
    """3 channels of pixels to 4 of latents, each side divided by 4."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    net = AutoencoderKL(
        block_out_channels=(8, 8, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        **config,
    )
    torch.set_rng_state(state)
    return net.eval()


def saved(folder: Path, **config) -> Path:
    """A folder with such an autoencoder."""
    tiny(**config).save_pretrained(folder)
    return folder


def loaded(**config) -> Vae:
    """Such an autoencoder, without a file."""
    return Vae(tiny(**config), "tiny", "cpu")
