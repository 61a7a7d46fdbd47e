"""Make the reference runs on every GPU of this machine at once: one `run.py` for each.

    python docs/evidence/gpus.py --pack packed/ -- --stage all --minutes 9 --data cifar10-train.zip

Arguments after `--` are those of run.py. Each process takes the next run that no other has, and
writes its own to `packed/gpu0.tar.gz`, ...: unpack all of them into the results.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def start(number: int, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Start the process of one GPU, with its share of the threads."""
    threads = max(1, (os.cpu_count() or 1) // options.gpus)
    surroundings = {"CUDA_VISIBLE_DEVICES": str(number), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, str(options.run), *options.arguments]
    command += ["--pack", str(options.pack / f"gpu{number}.tar.gz")]
    with (options.pack / f"gpu{number}.txt").open("wb") as printed:
        return subprocess.Popen(
            command, env=os.environ | surroundings, stdout=printed, stderr=subprocess.STDOUT
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the largest exit code of a process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gpus", type=int, help="how many; by default all")
    parser.add_argument("--run", type=Path, default=HERE / "run.py", help="the script of a stage")
    parser.add_argument("--pack", type=Path, required=True, help="the folder for new runs and logs")
    parser.add_argument("arguments", nargs="*", help="of run.py, after --")
    options = parser.parse_args(arguments)
    if options.gpus is None:
        import torch

        options.gpus = max(1, torch.cuda.device_count())
    options.pack.mkdir(parents=True, exist_ok=True)
    started = [start(number, options) for number in range(options.gpus)]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the processes receive Ctrl-C as well
    codes = [process.wait() for process in started]
    for number in range(options.gpus):
        print(f"GPU {number}:\n{(options.pack / f'gpu{number}.txt').read_text('utf-8')}")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
