"""The worker processes of a command: how many, and the GPUs and threads of each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ditbench.errors import DitbenchError
from ditbench.world import launched

Environment = Mapping[str, str]


@dataclass(frozen=True)
class Workers:
    """The worker processes of a command. A single one for one GPU is the command's own process."""

    environments: Sequence[Environment]  # of each: its GPUs, and its share of the threads
    gpus: int = 1  # that compute each run together

    def __len__(self) -> int:
        return len(self.environments)


def choose_workers(workers: int | None, runs: int, device: torch.device, gpus: int = 1) -> Workers:
    """The worker processes that execute `runs` runs; never more of them than runs.

    If `workers` is None, there are as many as the GPUs suffice for, or 1 on a CPU. A device without
    a number is any visible GPU. Each run uses `gpus` of them. Raises a DitbenchError if there are
    too few.
    """
    if launched():  # torchrun says which processes and GPUs there are
        for option, number in (("--gpus", gpus), ("--workers", workers or 1)):
            if number > 1:
                raise DitbenchError(
                    f"torchrun and {option} {number} are given together",
                    f"omit {option}: --nproc-per-node of torchrun is the number of GPUs",
                )
        return Workers([{}])
    places = _visible(device)
    most = max(1, len(places) // gpus)
    if places and workers is not None and workers > most:
        raise DitbenchError(
            f"--workers {workers} needs {workers * gpus} GPUs, and there are {len(places)}: runs "
            "that share a GPU are not faster",
            f"pass --workers {most}, or leave it out",
        )
    workers = max(1, min(workers or most, runs))
    # A user may set the number of threads per run.
    share = max(1, torch.get_num_threads() // (workers * gpus))
    threads = os.environ.get("OMP_NUM_THREADS") or share
    common = {"OMP_NUM_THREADS": str(threads)}
    if not places:
        return Workers([common] * workers, gpus)
    of_worker = [places[gpus * number : gpus * (number + 1)] for number in range(workers)]
    variables = [common | {"CUDA_VISIBLE_DEVICES": ",".join(each)} for each in of_worker]
    return Workers(variables, gpus)


def _visible(device: torch.device) -> list[str]:
    """The GPUs that runs may use, as CUDA_VISIBLE_DEVICES names them; none on a CPU."""
    if device.type != "cuda":
        return []
    count = torch.cuda.device_count()
    inherited = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(count)]
    if inherited:  # numbers, or names such as GPU-8932f937
        names = [name.strip() for name in inherited.split(",")][:count]
    return names if device.index is None else [names[device.index]]
