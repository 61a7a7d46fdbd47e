"""Samples of a run as files, see `export_files`.

An export that was stopped resumes after its last whole batch, with the same pixels as if it had not
been stopped: its record holds the state of the noise.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ditbench.data import load_dataset
from ditbench.data.class_names import find_classes
from ditbench.data.dataset import NanSamples, to_uint8
from ditbench.errors import LESS_MEMORY, DitbenchError
from ditbench.runs.directory.lock import locked
from ditbench.runs.machine.environment import device_name
from ditbench.runs.machine.runtime_errors import sampling_errors
from ditbench.runs.planning.ready import check_writable
from ditbench.runs.planning.task import Task
from ditbench.runs.scoring.export_files import LOCK, RECORD, export_at
from ditbench.runs.scoring.labels import scored_labels
from ditbench.runs.scoring.sampling import Noise, sample_batches
from ditbench.runs.scoring.scored import as_pictures
from ditbench.runs.scoring.trained import Opened, averaged_model, backend_for
from ditbench.training.stop import StopRequest

MOST = 10**7  # images


def export_samples(
    opened: Opened, path: Path, *, count: int | None, classes: list[str] | None, stop: StopRequest
) -> tuple[int, bool]:
    """Write samples of a run to a folder of PNGs or an .npz, by the suffix of `path`.

    By default these are the samples of the run's final score: as many, of the same classes, from
    the same noise. With `classes` (names or labels), these classes take turns. Returns the number
    of images, and whether the export was complete before.

    Raises:
        Stopped: a stop was requested; the whole batches so far are written.
        DitbenchError: as `sample_grid`; or there is something else at `path`.
    """
    task, directory = opened
    count = task.config.eval.samples if count is None else count
    if count > MOST:
        raise DitbenchError(f"--count {count} is above {MOST:,}", "export fewer images")
    labels = _labels(task, count, classes)
    export = export_at(path)(path, _identity(opened, count, classes), task, labels)
    if export.is_complete():
        return count, True
    export.done()  # refuses other files before a model is built
    check_writable(path)
    with sampling_errors(task, LESS_MEMORY):
        backend = backend_for(task, directory)
        model, _ = averaged_model(task, directory, backend)
        with locked(export.place / LOCK):
            done, state = export.done()
            noise = Noise.of(task.config.seed, task.device)
            if done:
                _restore(noise, state, export.place / RECORD)
            if done < count:
                for x in sample_batches(model, task, labels[done:], noise, stop):
                    export.add(done, _pixels(task, x), noise)
                    done += len(x)
            export.finish()
    return count, False


def _pixels(task: Task, x: Tensor) -> Tensor:
    """A batch of samples as images: uint8 (N, C, H, W), on the CPU."""
    if task.dataset.latents is None:
        return to_uint8(x).cpu()
    if x.isnan().any():
        raise NanSamples
    return as_pictures(task, x)


def _labels(task: Task, count: int, classes: list[str] | None) -> Tensor:
    """The class of each image, (count,)."""
    config, dataset = task.config, task.dataset
    if classes is not None:
        chosen = torch.tensor(find_classes(classes, dataset.class_names))
        return chosen[torch.arange(count) % len(chosen)]
    if config.eval.labels == "data":  # the sizes of the classes are not recorded
        dataset = load_dataset(config.data.name, config.data.path, config.data.settings)
    return scored_labels(config.eval.labels, count, dataset)


def _identity(opened: Opened, count: int, classes: Sequence[str] | None) -> dict[str, Any]:
    """What the pixels of an export depend on."""
    config = opened.task.config
    keys = ("cfg_scale", "sampler", "sampling_steps", "batch_size")
    more = {
        "vae": config.data.vae_digest,
        "fingerprint": None if opened.is_run else config.fingerprint,  # a run has its settings
    }
    return {
        "block": config.block,
        "seed": config.seed,
        "checkpoint": opened.digest,
        "count": count,
        "classes": None if classes is None else list(classes),
        **{key: getattr(config.eval, key) for key in keys},
        "device": device_name(opened.task.device),
        **{key: value for key, value in more.items() if value},
    }


def _restore(noise: Noise, state: Any, record: Path) -> None:
    """Continue with the noise where a record says."""
    try:
        for name, each in vars(noise).items():
            content = bytearray(base64.b64decode(state[name]))
            each.set_state(torch.frombuffer(content, dtype=torch.uint8))
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        what = f"{record} is damaged: it does not hold the state of the noise"
        raise DitbenchError(what, "remove the export, and begin it again") from error
