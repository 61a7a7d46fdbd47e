"""Training on latents that are read from disk ahead of each step, against latents on the device.

    python docs/bench/latents.py --model B/2 -o latents.json

The latents are random: 4x32x32 in float16 with mirrored copies, in shards of safetensors. Both
trainers are warmed up and measured in turn, several times.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import save_file

from ditbench.bench.synthetic import plan_on
from ditbench.bench.timing import Timed, time_in_turn
from ditbench.config import load
from ditbench.data.latents.load import load_latents
from ditbench.data.pictures.settings import Settings
from ditbench.models.sizes import parse_model
from ditbench.runs.machine.environment import device_name, select_device
from ditbench.runs.planning.plan import build_trainer
from ditbench.training import batches

PER_SHARD, CLASSES, WARM_UP = 4096, 1000, 20


def make_latents(folder: Path, images: int) -> None:
    """Shards of random latents, as LightningDiT's."""
    draws = torch.Generator().manual_seed(0)
    for start in range(0, images, PER_SHARD):
        count = min(PER_SHARD, images - start)
        latents = torch.randn(count, 4, 32, 32, generator=draws).half()
        labels = torch.randint(CLASSES, (count,), generator=draws)
        tensors = {"latents": latents, "latents_flip": latents.flip(-1).contiguous()}
        save_file(tensors | {"labels": labels}, folder / f"{start:08d}.safetensors")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="B/2")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    device = select_device(options.device)
    size = vars(parse_model(options.model))
    config = load("digits").with_values(
        data__horizontal_flip=True,
        train__batch_size=options.batch_size,
        train__precision="bf16" if device.type == "cuda" else "fp32",
        eval__samples=CLASSES,
        **{f"model__{key}": value for key, value in size.items()},
    )
    with tempfile.TemporaryDirectory() as place:
        make_latents(Path(place), options.images)
        dataset = load_latents(Path(place), Settings(image_size=256, scaling_factor=0.18215))
        plan = plan_on(dataset, config, device)
        trainers = {}
        for name, share in (("device", 1.0), ("disk", 0.0)):
            batches.SHARE = share
            trainers[name] = build_trainer(plan)
            for _ in range(WARM_UP):
                trainers[name].update()
        timed = [Timed(each.update, options.repeats, options.steps) for each in trainers.values()]
        seconds = time_in_turn(timed, device)
    found = {name: 1000 * median(each) for name, each in zip(trainers, seconds, strict=True)}
    row = {
        "device": device_name(device),
        "model": options.model,
        "batch_size": options.batch_size,
        "images": options.images,
        "ms_per_step_from_device": found["device"],
        "ms_per_step_from_disk": found["disk"],
        "ratio": found["disk"] / found["device"],
        "source": type(trainers["disk"].batches.source).__name__,
    }
    text = json.dumps(row, indent=1) + "\n"
    if options.output:
        options.output.write_text(text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
