"""Sampling and scoring on 1, 2, 4 ... GPUs: seconds of an evaluation of `ditbench run --gpus N`.

    python docs/bench/evaluation.py --gpus 1,2 -o evaluation.json

The images are random, the model is that of the preset cifar10 (S/4, 50 steps of Euler), and the
features are those of its classifier. Of two evaluations the second counts: the first loads kernels.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

IMAGES = 10_000
CLASSES = 10


def make_images(path: Path) -> None:
    """Random images with labels, as an .npz file."""
    draws = np.random.default_rng(0)
    images = draws.integers(256, size=(IMAGES, 32, 32, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(IMAGES) % CLASSES)


def evaluate(number: int, data: Path, out: Path, arguments: Sequence[str]) -> dict[str, str]:
    """The last row of eval.csv of a short run on so many GPUs."""
    command = [sys.executable, "-m", "ditbench", "run", "--preset", "cifar10", "--quiet"]
    command += ["--block", "adaln-zero", "--data", str(data), "--steps", "20", "--out", str(out)]
    command += ["--gpus", str(number), "--set", "eval.points=2", *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr)
    (path,) = out.glob("**/eval.csv")
    with path.open(newline="") as file:
        return [*csv.DictReader(file)][-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gpus", default="1,2", help="numbers of GPUs, ascending")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("-o", "--output", type=Path)
    options, more = parser.parse_known_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        data = Path(place, "random.npz")
        make_images(data)
        for number in map(int, options.gpus.split(",")):
            settings = [*more, "--set", f"eval.samples={options.samples}"]
            row = evaluate(number, data, Path(place, str(number)), settings)
            seconds, sampling = float(row["eval_seconds"]), float(row["sampling_seconds"])
            rows.append(
                {
                    "gpus": number,
                    "samples": options.samples,
                    "sampling_seconds": sampling,
                    "eval_seconds": seconds,
                    "samples_per_second": options.samples / seconds,
                    "times_as_fast": rows[0]["eval_seconds"] / seconds if rows else 1.0,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
