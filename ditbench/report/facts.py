"""The columns of `load_results`: everything that reporting knows about each, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ditbench.report.amounts import decimals, significant

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Fact:
    """One column of `load_results`.

    Attributes:
        name: of the column.
        dtype: in pandas.
        alike: runs must agree in it to be ranked together.
        task: it says what was trained on what; runs of different tasks differ in much else.
        scored: a column of eval.csv that says how an evaluation was made. It cannot change along
            a run.
        keys: the configuration keys that it holds. A key that ends in `.` stands for all keys
            that begin with it.
        heading: how a heading shows the value; None leaves it out.
        title: the header of its column in tables.
        text: how tables write a value.
        best: which end tables highlight.
    """

    name: str
    dtype: str = "str"
    alike: bool = False
    task: bool = False
    scored: bool = False
    keys: tuple[str, ...] = ()
    heading: str | None = None
    title: str | None = None
    text: Callable[[Any], str] = str
    best: Literal["low", "high"] | None = None


_MODEL = tuple(f"model.{name}" for name in ("hidden_size", "depth", "num_heads", "patch_size"))
_BUDGET = tuple(f"budget.{name}" for name in ("steps", "flops", "seconds"))
_FEATURES = ("metrics.features", "metrics.inception_weights")

# Compute is a float because an XL/2 run passes 2**63 FLOPs, peak memory because it may be unknown.
FACTS = (
    # Which run. The options and the source of a block belong to the block.
    Fact("preset", keys=("preset",)),
    Fact("block", keys=("block", "options.", "strategy."), title="Block"),
    Fact("seed", "int64", keys=("seed",)),
    Fact("fingerprint"),
    Fact("path"),
    # Where in training.
    Fact("step", "int64"),
    Fact("images", "int64"),
    Fact("train_flops", "float64"),
    Fact("seconds", "float64"),
    Fact("final", "bool"),
    # What was trained on what.
    Fact("dataset", alike=True, task=True, keys=("data.name",), heading="{}"),
    Fact("source", keys=("data.path",)),
    Fact("dataset_digest", alike=True, keys=("data.digest",)),
    Fact("input", alike=True, task=True, heading="{}", title="Input"),
    Fact("model", alike=True, task=True, keys=_MODEL, heading="{}", title="Model"),
    Fact("objective", alike=True, task=True, keys=("objective.name",), heading="{}"),
    # How it was scored.
    Fact("features", alike=True, scored=True, keys=_FEATURES, heading="{} features"),
    Fact("features_digest", alike=True),
    Fact("samples", "int64", alike=True, scored=True, keys=("eval.samples",)),
    Fact("sampler", alike=True, scored=True, keys=("eval.sampler",), heading="{}"),
    Fact("sampling_steps", "int64", alike=True, scored=True, keys=("eval.sampling_steps",),
         heading="{} sampling steps"),
    Fact("cfg_scale", "float64", alike=True, scored=True, keys=("eval.cfg_scale",),
         heading="guidance {:g}"),
    # How it was trained.
    Fact("budget", alike=True, keys=_BUDGET, heading="{}"),
    Fact("batch_size", "int64", alike=True, keys=("train.batch_size",), heading="batches of {}"),
    Fact("ema_decay", "float64", alike=True, scored=True, keys=("train.ema_decay",)),
    Fact("precision", alike=True, keys=("train.precision",), heading="{}"),
    Fact("schema", "int64"),
    Fact("recipe"),
    # What may differ within one ranking, and is then pointed out.
    Fact("lr", "float64", keys=("train.lr",)),
    Fact("device"),
    Fact("backend", keys=("train.backend",)),
    # What it cost. Peebles & Xie call multiply-accumulates Gflops.
    Fact("parameters", "int64", title="Params (M)", text=significant(3, 1, 1e-6), best="low"),
    Fact("gmacs", "float64", title="GMACs (paper's Gflops)", text=significant(3, 2), best="low"),
    Fact("gflops", "float64", title="GFLOPs (2 x GMACs)", text=significant(3, 2), best="low"),
    Fact("steps", "int64", title="Steps", text=decimals(0)),
    Fact("train_seconds", "float64"),
    Fact("steps_per_second", "float64", title="steps/s", text=significant(3), best="high"),
    Fact("samples_per_second", "float64"),
    Fact("peak_memory_bytes", "float64", title="Peak mem (MiB)", text=decimals(0, 2**-20),
         best="low"),
    Fact("loss_spike", "float64"),
    Fact("loss_spike_step", "float64"),
    Fact("metrics"),
)  # fmt: skip

BY_NAME = {fact.name: fact for fact in FACTS}
ALIKE = tuple(fact.name for fact in FACTS if fact.alike)
TASK = tuple(fact.name for fact in FACTS if fact.task)
SCORED = tuple(fact.name for fact in FACTS if fact.scored)
# What the runs of a group may have in common.
SHARED = (*ALIKE, "schema", "lr", "device", "source", "backend")

# The statistics that a comparison infers about a block beside the baseline. The baseline itself
# and forced rankings have none.
INFERRED = (
    "fid_difference_low",
    "fid_difference_high",
    "fid_ratio_low",
    "fid_ratio_high",
    "p_value",
    "p_holm",
)


class MetricFacts(BaseModel):
    """A metric as result.json describes it.

    Attributes:
        name: of its column.
        title: in tables.
        direction: which values are better.
        format: `.2f` or `.3g`; see `amounts.writer`.
        unit: of its values; empty without one.
        version: raised when the same samples get another value.
        depends_on_samples: its column in eval.csv and its title end in the number of samples.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = Field(pattern=r"^[\w .()/%-]+$", max_length=40)
    direction: Literal["lower", "higher"]
    format: str = Field(pattern=r"^\.[0-9][fg]$")
    unit: str = Field(default="", pattern=r"^[\w .()/%-]*$", max_length=20)
    version: int = 1
    depends_on_samples: bool = True


# The metrics of runs of schema 1, which do not describe theirs.
FIRST_METRICS = (
    MetricFacts(name="fid", title="FID", direction="lower", format=".2f"),
    MetricFacts(name="kid", title="KID", direction="lower", format=".3g"),
    MetricFacts(
        name="label_accuracy",
        title="Label acc.",
        direction="higher",
        format=".3f",
        depends_on_samples=False,
    ),
)


def is_recipe(key: str) -> bool:
    """Whether a configuration key has no column of its own: it is then part of `recipe`."""
    return not any(
        key == held or (held.endswith(".") and key.startswith(held))
        for fact in FACTS
        for held in fact.keys
    )
