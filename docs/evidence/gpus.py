"""Make the reference runs on every GPU of this machine at once: one `run.py` for each.

    python docs/evidence/gpus.py --pack packed/ -- --stage ddpm --minutes 9 --data cifar10-train.zip

Arguments after `--` are those of run.py. Each process begins with other seeds of the list, in a
copy of the results, and writes `packed/gpu0.tar.gz`, ...: unpack all of them into the results.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
SEEDS = re.compile(r"^seeds = \[(.+)\]$", re.MULTILINE)


def rotated(text: str, number: int, of: int) -> str:
    """The text of a list whose process `number` of so many begins with seeds of its own.

    All seeds stay in it: they are the planned ones.
    """

    def rotate(found: re.Match[str]) -> str:
        seeds = found[1].split(", ")
        start = number * len(seeds) // of
        return f"seeds = [{', '.join(seeds[start:] + seeds[:start])}]"

    return SEEDS.sub(rotate, text)


def start(number: int, options: argparse.Namespace, place: Path) -> subprocess.Popen[bytes]:
    """Start the process of one GPU, in a folder of its own."""
    place.mkdir(parents=True, exist_ok=True)
    results, seeds = place / "results", place / "list.toml"
    if options.out.is_dir() and not results.exists():
        shutil.copytree(options.out, results, ignore=shutil.ignore_patterns("*.png", "checkpoints"))
    text = options.run.with_name("list.toml").read_text("utf-8")
    seeds.write_text(rotated(text, number, options.gpus), "utf-8")
    threads = max(1, (os.cpu_count() or 1) // options.gpus)
    surroundings = {"CUDA_VISIBLE_DEVICES": str(number), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, str(options.run), "--list", str(seeds), "--out", str(results)]
    command += ["--pack", str(options.pack / f"gpu{number}.tar.gz"), *options.arguments]
    with (options.pack / f"gpu{number}.txt").open("wb") as printed:
        return subprocess.Popen(
            command, env=os.environ | surroundings, stdout=printed, stderr=subprocess.STDOUT
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the largest exit code of a process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gpus", type=int, help="how many; by default all")
    parser.add_argument("--run", type=Path, default=HERE / "run.py", help="the script of a stage")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "results" / "reference")
    parser.add_argument("--pack", type=Path, required=True, help="the folder for new runs and logs")
    parser.add_argument("--place", type=Path, help="a folder that is kept, for --resume of run.py")
    parser.add_argument("arguments", nargs="*", help="of run.py, after --")
    options = parser.parse_args(arguments)
    if options.gpus is None:
        import torch

        options.gpus = max(1, torch.cuda.device_count())
    options.pack.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        place = options.place or Path(temporary)
        started = [start(k, options, place / str(k)) for k in range(options.gpus)]
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the processes receive Ctrl-C as well
        codes = [process.wait() for process in started]
    for number in range(options.gpus):
        print(f"GPU {number}:\n{(options.pack / f'gpu{number}.txt').read_text('utf-8')}")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
