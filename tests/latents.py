"""Latents in each format that is read: made by hand, as the programs that write them do."""

import numpy as np
import torch
from safetensors.torch import save_file

SHAPE = (4, 4, 4)


def numbers(count, seed=0, shape=SHAPE):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(count, *shape, generator=draws)


def lightning_dit(folder, sizes=(5, 4), *, flip=True, statistics=True, dtype=torch.float32):
    """Shards as LightningDiT's extract_features.py names and fills them; returns the latents."""
    folder.mkdir(parents=True, exist_ok=True)
    count = sum(sizes)
    plain, mirrored = numbers(count).to(dtype), numbers(count, 1).to(dtype)
    labels = torch.arange(count) % 3
    start = 0
    for number, size in enumerate(sizes):
        part = slice(start, start + size)
        tensors = {"latents": plain[part], "latents_flip": mirrored[part], "labels": labels[part]}
        if not flip:
            del tensors["latents_flip"]
        name = folder / f"latents_rank00_shard{number:03d}.safetensors"
        metadata = {"total_size": str(size), "dtype": str(dtype), "device": "cpu"}
        save_file({key: each.contiguous() for key, each in tensors.items()}, name, metadata)
        start += size
    if statistics:
        found = {"mean": torch.full((1, 4, 1, 1), 0.5), "std": torch.full((1, 4, 1, 1), 2.0)}
        torch.save(found, folder / "latents_stats.pt")
    return plain, mirrored, labels


def fast_dit(folder, count=9):
    """An .npy file per latent and per label, as fast-DiT writes them."""
    features, labels = folder / "imagenet32_features", folder / "imagenet32_labels"
    features.mkdir(parents=True)
    labels.mkdir()
    plain = numbers(count)
    for number in range(count):
        np.save(features / f"{number}.npy", plain[number : number + 1].numpy())
        np.save(labels / f"{number}.npy", np.array([number % 3]))
    return plain


def npz(path, count=9, **more):
    plain = numbers(count)
    known = {"image_size": 32, "scaling_factor": 0.5, "labels": np.arange(count) % 3} | more
    np.savez(path, **{"latents": plain.numpy()} | {k: v for k, v in known.items() if v is not None})
    return plain


def everything(dataset):
    """All rows of a data set."""
    return dataset.on(torch.device("cpu"))
