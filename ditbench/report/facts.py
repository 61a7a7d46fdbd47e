"""The columns of `load_results`: everything that reporting knows about each, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ditbench.amounts import decimals, significant


@dataclass(frozen=True)
class Fact:
    """One column of `load_results`."""

    name: str
    dtype: str = "str"
    file: Literal["result", "cost", "config", "eval"] | None = None  # None if it is derived
    alike: bool = False  # runs must agree in it to be ranked together
    task: bool = False  # says what was trained on what; runs of other tasks differ in much else
    scored: bool = False  # says how an evaluation was made, and cannot change along a run
    keys: tuple[str, ...] = ()  # of the configuration; one that ends in `.` has all below it
    heading: str | None = None  # how a heading shows the value; None leaves it out
    title: str | None = None  # its header in tables
    text: Callable[[Any], str] = str  # how tables write a value
    best: Literal["low", "high"] | None = None  # which end tables highlight


_MODEL = tuple(f"model.{name}" for name in ("hidden_size", "depth", "num_heads", "patch_size"))
_BUDGET = tuple(f"budget.{name}" for name in ("steps", "flops", "seconds"))
_FEATURES = ("metrics.features", "metrics.inception_weights")

# Compute is a float because an XL/2 run passes 2**63 FLOPs, peak memory because it may be unknown.
FACTS = (
    # Which run. The options, the source and the parent of a block's run belong to the block.
    Fact("preset", "str", "result", keys=("preset",)),
    Fact("block", "str", "result", keys=("block", "options.", "strategy.", "parent."),
         title="Block"),
    Fact("seed", "int64", "result", keys=("seed",)),
    Fact("fingerprint", "str", "result"),
    Fact("path", keys=("init.path",)),  # the contents of [init] are part of the recipe
    # Where in training.
    Fact("step", "int64", "eval"),
    Fact("images", "int64", "eval"),
    Fact("train_flops", "float64", "eval"),
    Fact("seconds", "float64", "eval"),
    Fact("final", "bool"),
    Fact("curve", "bool"),
    # What was trained on what.
    Fact("dataset", "str", "config", alike=True, task=True, keys=("data.name",), heading="{}"),
    Fact("source", keys=("data.path", "data.vae", "metrics.real")),
    Fact("dataset_digest", "str", "result", alike=True, keys=("data.digest",)),
    Fact("input", "str", "cost", alike=True, task=True, heading="{}", title="Input"),
    Fact("model", "str", "cost", alike=True, task=True, keys=_MODEL, heading="{}", title="Model"),
    Fact("objective", "str", "config", alike=True, task=True, keys=("objective.name",),
         heading="{}"),
    # How it was scored. The name of a later evaluation (`ditbench eval`), empty for the run's own.
    Fact("evaluation", alike=True),
    Fact("features", "str", "eval", alike=True, scored=True, keys=_FEATURES, heading="{} features"),
    Fact("features_digest", "str", "result", alike=True),
    # NaN for runs that do not record it.
    Fact("real_images", "float64"),
    Fact("samples", "int64", "eval", alike=True, scored=True, keys=("eval.samples",)),
    Fact("sampler", "str", "eval", alike=True, scored=True, keys=("eval.sampler",), heading="{}"),
    Fact("sampling_steps", "int64", "eval", alike=True, scored=True,
         keys=("eval.final_sampling_steps",), heading="{} sampling steps"),
    Fact("curve_sampling_steps", "int64", alike=True, keys=("eval.sampling_steps",)),
    Fact("draws", "int64", keys=("eval.draws",)),
    Fact("cfg_scale", "float64", "eval", alike=True, scored=True, keys=("eval.cfg_scale",),
         heading="guidance {:g}"),
    # How it was trained.
    Fact("budget", alike=True, keys=_BUDGET, heading="{}"),
    Fact("batch_size", "int64", "config", alike=True, keys=("train.batch_size",),
         heading="batches of {}"),
    Fact("ema_decay", "float64", "eval", alike=True, scored=True, keys=("train.ema_decay",)),
    Fact("train_precision", "str", "config", alike=True, keys=("train.precision",), heading="{}"),
    Fact("schema", "int64"),
    Fact("recipe"),
    # What may differ within one ranking, and is then pointed out.
    Fact("lr", "float64", "config", keys=("train.lr",)),
    # The name of the GPU, or processor and threads.
    Fact("device", "str", "result"),
    Fact("backend", keys=("train.backend", "train.micro_batch", "train.checkpoint_blocks")),
    Fact("ditbench_version"),
    Fact("torch_version"),
    # How many runs at a time shared the CPU.
    Fact("shared_cpu_workers", "int64"),
    # How many seeds the command planned that made the run; NaN if env.json does not say.
    Fact("planned_seeds", "float64"),
    # What it cost. Peebles & Xie call multiply-accumulates Gflops.
    Fact("parameters", "int64", "cost", title="Params (M)", text=significant(3, 1, 1e-6),
         best="low"),
    Fact("gmacs", "float64", "cost", title="GMACs (paper's Gflops)", text=significant(3, 2),
         best="low"),
    Fact("gflops", "float64", "cost", title="GFLOPs (2 x GMACs)", text=significant(3, 2),
         best="low"),
    Fact("steps", "int64", "result", title="Steps", text=decimals(0)),
    Fact("train_seconds", "float64", "result"),
    Fact("eval_seconds", "float64", "result"),
    Fact("steps_per_second", "float64", "result", title="steps/s", text=significant(3),
         best="high"),
    Fact("samples_per_second", "float64", "result"),
    Fact("peak_memory_bytes", "float64", "result", title="Peak mem (MiB)", text=decimals(0, 2**-20),
         best="low"),
    Fact("skipped_updates", "int64", "result"),
    Fact("loss_spike", "float64"),
    Fact("loss_spike_step", "float64"),
    Fact("metrics", keys=("metrics.extra", "metrics.also")),
)  # fmt: skip

BY_NAME = {fact.name: fact for fact in FACTS}
ALIKE = tuple(fact.name for fact in FACTS if fact.alike)
TASK = tuple(fact.name for fact in FACTS if fact.task)
SCORED = tuple(fact.name for fact in FACTS if fact.scored)
_HELD = frozenset(key for fact in FACTS for key in fact.keys)
_HELD_BELOW = tuple(key for key in _HELD if key.endswith("."))
# What the runs of a group may have in common.
SHARED = (*ALIKE, "schema", "lr", "device", "source", "backend")

# The statistics that a comparison infers about a block beside the baseline. The baseline itself
# and forced rankings have none.
INFERRED = (
    *("fid_difference_low", "fid_difference_high", "fid_ratio_low", "fid_ratio_high"),
    *("p_value", "p_bonferroni", "equivalent"),
)

# The blocks of the DiT paper in the order of its section 3.2.
PAPER_ORDER = ("in-context", "cross-attention", "adaln", "adaln-zero")


def in_order(blocks: Iterable[str]) -> list[str]:
    """Distinct block names: the paper's first, in its order, then the others alphabetically."""
    names = set(blocks)
    return [name for name in PAPER_ORDER if name in names] + sorted(names.difference(PAPER_ORDER))


def is_recipe(key: str) -> bool:
    """Whether a configuration key has no column of its own: it is then part of `recipe`."""
    return key not in _HELD and not key.startswith(_HELD_BELOW)
