"""Estimates of memory: against what was measured on GPUs, and what follows from the settings."""

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ditbench.data.dataset import ImageDataset
from ditbench.models import kept
from ditbench.models.registry import block_names
from ditbench.models.sizes import parse_model
from ditbench.runs.planning.memory import count_memory, peak_memory, what_fits
from ditbench.runs.planning.plan import build_trainer
from ditbench.world import World

MIB, GIB = 2**20, 2**30
ROOT = Path(__file__).parents[3]


@pytest.fixture
def make_task(make_plan):
    def make(model="XL/2", block="adaln-zero", gpus=1, **values):
        size = {f"model__{name}": value for name, value in vars(parse_model(model)).items()}
        plan = make_plan(block=block, objective__name="ddpm", train__batch_size=64)
        pixels = torch.zeros(4, 4, 32, 32, dtype=torch.uint8)
        images = ImageDataset("zeros", pixels, torch.arange(4), tuple(map(str, range(1000))))
        given = {"train__precision": "bf16", "eval__batch_size": 64, **size, **values}
        return replace(
            plan, config=plan.config.with_values(**given), dataset=images, world=World(0, gpus)
        )

    return make


@pytest.mark.parametrize(
    ("model", "block", "gpus", "batch_size", "measured"),
    [  # MiB on H200s, from docs/bench/scaling-*.json and docs/appendix/performance.md
        ("S/4", "adaln-zero", 1, 256, 3_822),
        ("S/2", "adaln-zero", 1, 256, 12_683),
        ("S/2", "adaln-zero", 2, 256, 6_854),
        ("S/2", "cross-attention", 1, 256, 16_309),
        ("B/2", "adaln-zero", 1, 256, 26_825),
        ("XL/2", "adaln-zero", 1, 128, 55_063),
        ("XL/2", "adaln-zero", 2, 128, 34_892),
        ("XL/2", "adaln-zero", 4, 128, 24_671),
    ],
)
def test_training_takes_what_was_measured(make_task, model, block, gpus, batch_size, measured):
    memory = count_memory(make_task(model, block, gpus, train__batch_size=batch_size))
    estimate = memory.training(batch_size // gpus, 1, again=False)
    if gpus == 1:  # the gradients of the step before were kept, when this was measured
        estimate += 4 * memory.parameters
    random_images = 64 * batch_size * 4 * 32 * 32
    assert (estimate + random_images) / MIB == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize(
    ("model", "batch_size"), [("S/4", 256), ("S/2", 256), ("B/2", 256), ("XL/2", 128)]
)
@pytest.mark.parametrize("precision", ["bf16", "bf16-residual"])
def test_training_takes_what_was_measured_in_each_precision(
    make_task, model, batch_size, precision
):
    speed = json.loads((ROOT / "docs/bench/speed.json").read_text("utf-8"))
    (row,) = (
        row
        for row in speed
        if (row["model"], row["block"], row["backend"], row["precision"])
        == (model, "adaln-zero", "kernels", precision)
    )
    task = make_task(model, train__batch_size=batch_size, train__precision=precision)
    estimate = count_memory(task).training(batch_size, 1, again=False)
    random_images = 64 * batch_size * 4 * 32 * 32
    assert estimate + random_images == pytest.approx(row["peak_memory_bytes"], rel=0.06)


def test_xl_2_with_the_paper_s_batch_fits_on_small_cards(make_task):
    task = make_task(train__batch_size=256)
    assert peak_memory(task) > 80 * GIB
    for card in (24, 80):
        settings = what_fits(task, card * GIB)
        assert settings
        values = {key.replace(".", "__"): value for key, value in settings.items()}
        fitting = replace(task, config=task.config.with_values(**values))
        assert peak_memory(fitting) <= 0.9 * card * GIB
        assert what_fits(fitting, card * GIB) == {}
    assert what_fits(task, 8 * GIB) is None
    assert what_fits(task, 200 * GIB) == {}


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_less_at_a_time_and_recomputing_need_less(make_task, precision):
    def peak(**values):
        return peak_memory(make_task("S/2", train__batch_size=256, **values), precision)

    whole = peak()
    parts, again = peak(train__micro_batch=64), peak(train__checkpoint_blocks=True)
    both = peak(train__micro_batch=64, train__checkpoint_blocks=True)
    assert both < min(parts, again)
    assert max(parts, again) < whole / 2


def test_float32_needs_more(make_task):
    task = make_task("S/4")
    assert peak_memory(task, "fp32") > 1.4 * peak_memory(task)


@pytest.mark.parametrize("block", block_names())
def test_plain_operations_keep_what_autograd_keeps(make_plan, block):
    """In float32, where nothing is cast: against a model that computes."""
    plan = make_plan(block=block, train__backend="plain", train__precision="fp32")
    trainer, sizes = build_trainer(plan), {}
    weights = {weight.untyped_storage().data_ptr() for weight in trainer.parameters}
    alive = []

    def keep(tensor):
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    x, y = trainer.batches.batch(0)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = trainer.model(x, torch.zeros(len(x)), y)
    kept = sum(size for at, size in sizes.items() if at not in weights)
    assert out.requires_grad
    memory = count_memory(plan)
    around, blocks, _ = memory.fixed.plus(len(x), memory.per_image)
    assert around + blocks == pytest.approx(kept, rel=0.02)


def test_counting_leaves_no_memory_behind(make_task, monkeypatch):
    """Not even until Python collects cycles: processes that are started later need it."""
    seen = []
    keep = kept._Tally.keep

    def watched(self, tensor):
        seen.append(weakref.ref(tensor))
        return keep(self, tensor)

    monkeypatch.setattr(kept._Tally, "keep", watched)
    gc.disable()
    try:
        count_memory(make_task("S/4"))
        assert len(seen) > 100
        assert not [each for each in seen if each() is not None]
    finally:
        gc.enable()
