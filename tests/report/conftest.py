"""Small run directories with truthful formats, written through RunDirectory as a real run does."""

import hashlib
import json
from functools import cache, partial
from statistics import fmean

import matplotlib as mpl
import numpy as np
import pytest

from ditbench.config import RunConfig
from ditbench.report.figures.style import RC
from ditbench.report.reading.results import load_results
from ditbench.rundir import RunDirectory, metric_suffix

# Parameters and GMACs of a forward pass: invented, but in the order that the blocks really have.
COSTS = {
    "in-context": (215_000, 0.0040),
    "cross-attention": (285_000, 0.0047),
    "adaln": (310_000, 0.0034),
    "adaln-zero": (345_000, 0.0035),
}


def write_run(
    root,
    block="adaln-zero",
    seed=0,
    fids=(200.0, 50.0, 8.0),
    *,
    loss=0.1,
    kid=None,
    real_images=None,
    label_accuracy=0.9,
    rate=50.0,
    device="cpu",
    peak_memory_bytes=200 * 2**20,
    name=None,
    images=False,
    draws=(),
    input_size="8x8x1",
    dataset_digest="d" * 64,
    environment=None,
    metrics=None,
    schema=2,
    **settings,
):
    """A complete run whose evaluations have these FIDs, evenly spaced along the budget.

    `kid` is that of all evaluations, by default a thousandth of FID; `draws` are the FIDs of
    final.csv, which only runs with draws have; `real_images` and `metrics` are recorded if given.
    A run of schema 1 has no hashes: its files can be edited.
    """
    config = RunConfig().with_values(block=block, seed=seed, eval__points=len(fids), **settings)
    if name is None:
        run = RunDirectory.of(root, config.preset, block, seed, config.fingerprint)
    else:
        run = RunDirectory(root / name)
    parameters, gmacs = COSTS.get(block, (300_000, 0.004))
    flops_per_step = 3 * 2e9 * gmacs * config.train.batch_size
    cost = {
        "block": block,
        "model": config.model.size.name,
        "input": input_size,
        "parameters": parameters,
        "gmacs": gmacs,
        "gflops": 2 * gmacs,
        "train_flops_per_image": 6e9 * gmacs,
        "train_flops": flops_per_step * config.budget.steps,
    }
    run.start(config.to_toml(), environment or {"python": "3.11"}, cost)
    suffix = metric_suffix(config.eval.samples)
    row = {}
    step = {"step": config.budget.steps, "images": 1, "seconds": 1.0}
    run.append_train({**step, "loss": loss, "lr": 1e-3, "grad_norm": 0.1})
    for number, fid in enumerate(fids, start=1):
        step = config.budget.steps * number // len(fids)
        row = {
            "step": step,
            "images": step * config.train.batch_size,
            "train_flops": step * flops_per_step,
            "seconds": step / rate,
            f"fid_{suffix}": fid,
            f"kid_{suffix}": fid / 1000 if kid is None else kid,
            "label_accuracy": label_accuracy,
            "features": config.metrics.features,
            "samples": config.eval.samples,
            "sampler": "euler" if config.eval.sampler == "auto" else config.eval.sampler,
            "sampling_steps": config.eval.sampling_steps,
            "cfg_scale": config.eval.cfg_scale,
            "ema_decay": config.train.ema_decay,
        }
        run.append_evaluation(row)
        if images:
            write_grid(run.samples(step), block, quality=number / len(fids))
    for number, fid in enumerate(draws):
        row |= {f"fid_{suffix}": fid, "sampling_steps": config.eval.steps_of_final}
        run.append_final({"draw": number, **row})
    if draws:
        row[f"fid_{suffix}"] = fmean(draws)
    run.finish(
        {
            "preset": config.preset,
            "block": block,
            "seed": seed,
            "fingerprint": config.fingerprint,
            "dataset_digest": dataset_digest,
            "steps": config.budget.steps,
            "images": config.budget.steps * config.train.batch_size,
            "train_flops": flops_per_step * config.budget.steps,
            "train_seconds": config.budget.steps / rate,
            "eval_seconds": 3.0,
            "steps_per_second": rate,
            "samples_per_second": 400.0,
            "peak_memory_bytes": peak_memory_bytes,
            "device": device,
            "final": row,
            **({} if real_images is None else {"scoring": {"real_images": real_images}}),
            **({} if metrics is None else {"metrics": metrics}),
        }
    )
    if schema == 1:
        forget_hashes(run)
    return run


def forget_hashes(run, **changes):
    """Make a run one of schema 1, with changes of its result."""
    result = json.loads(run.result.read_text()) | {"schema": 1} | changes
    run.result.write_text(json.dumps({key: result[key] for key in result if key != "sha256"}))


@cache
def real_digits():
    from sklearn.datasets import load_digits

    return load_digits()


def write_grid(path, block, quality):
    """A grid as training writes it, 3 rows x 10 classes of 8x8 digits, real ones plus noise.

    Pixels are enlarged 6 times; 2 white ones follow each image at its right and its bottom.
    """
    from matplotlib.image import imsave

    digits = real_digits()
    number = int.from_bytes(hashlib.sha256(block.encode()).digest()[:4], "little")
    generator = np.random.default_rng(number)
    grid = np.ones((3, 50, 10, 50))
    for row in range(3):
        for label in range(10):
            tile = digits.images[digits.target == label][row] / 16
            tile = np.clip(tile + (1 - quality) * generator.normal(size=(8, 8)), 0, 1)
            grid[row, :48, label, :48] = tile.repeat(6, 0).repeat(6, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, grid.reshape(150, 500), cmap="gray", vmin=0, vmax=1)


@pytest.fixture(scope="session")
def writer():
    return write_run


@pytest.fixture
def make_run(tmp_path):
    """`write_run` below the test's own `results` directory."""

    return partial(write_run, tmp_path / "results")


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def make_frame(make_run, results):
    """All results, with runs of these final FIDs by block and seed, after a first FID of 200."""

    def make(finals, **values):
        for block, fids in finals.items():
            for seed, fid in enumerate(fids):
                make_run(block, seed, (200.0, fid), **values)
        return load_results(results)

    return make


@pytest.fixture(autouse=True)
def paper_style():
    with mpl.rc_context(RC):
        yield
