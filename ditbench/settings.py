"""The settings of a run as sections: frozen, validated, fingerprinted. Torch-free."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ditbench.errors import DitbenchError, unknown_name
from ditbench.models.sizes import ModelSize

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Table = dict[str, Any]

# Where a thing lies or what it is called does not change what a run computes.
NOT_IDENTITY = {"identity": False}
# For a key that came when runs had been made: its default is what those runs did, so that it is
# left out of the fingerprint there, and a run made before has the fingerprint that it had.
ADDED_LATER = {"identity": "unless default"}
# A path is written as text in TOML.
Location = Annotated[Path | None, Field(strict=False, json_schema_extra=NOT_IDENTITY)]


# A number of a strategy's own: a rank, a count of tokens.
Option = Annotated[int, Field(gt=0, le=65_536)]


class Section(BaseModel):
    """A table of the configuration: immutable, closed to unknown keys; `true` is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(Section):
    """Which images: a data set by name, or those of a folder, zip or .npz at `path`."""

    name: str = "digits"
    path: Location = None
    # Filled in when the data are read: a path alone does not say what lies there.
    digest: str = "auto"
    horizontal_flip: bool = False


class ModelConfig(Section):
    """The transformer around the blocks (Peebles & Xie 2022, section 3.2).

    The last three are switches, see `ditbench.models.layers.Spec`: what the paper's model has not.
    """

    hidden_size: Annotated[int, Field(gt=0)] = 64
    depth: Annotated[int, Field(gt=0)] = 4
    num_heads: Annotated[int, Field(gt=0)] = 4
    patch_size: Annotated[int, Field(gt=0)] = 2
    mlp_ratio: Annotated[float, Field(gt=0, le=64)] = 4.0
    class_dropout_prob: Annotated[float, Field(gt=0, lt=1)] = 0.1
    qk_norm: Annotated[bool, Field(json_schema_extra=ADDED_LATER)] = False
    norm: Annotated[Literal["layer", "rms"], Field(json_schema_extra=ADDED_LATER)] = "layer"
    registers: Annotated[int, Field(ge=0, le=65_536, json_schema_extra=ADDED_LATER)] = 0

    @model_validator(mode="after")
    def _check_width(self) -> ModelConfig:
        if min(self.hidden_size, 2**53) * self.mlp_ratio < 1:  # larger ones overflow a float
            raise DitbenchError(
                f"model.mlp_ratio = {self.mlp_ratio:g} leaves the MLP no width at all",
                "the paper's is 4",
            )
        return self

    @property
    def size(self) -> ModelSize:
        """What a model's name says."""
        return ModelSize(self.hidden_size, self.depth, self.num_heads, self.patch_size)

    @property
    def name(self) -> str:
        """`S/4` where the paper has a name for this size, `64x4x4/2` elsewhere."""
        return self.size.name


class ObjectiveConfig(Section):
    """The training objective; `learn_sigma` belongs to `ddpm`, where it is on by default."""

    name: str = "flow"
    learn_sigma: bool | None = None


class BudgetConfig(Section):
    """How long to train: exactly one of these.

    `steps` are updates; `flops` floating-point operations of training, 3 x forward MACs x 2 x
    images; `seconds` of training, evaluation not counted.
    """

    # The bounds are beyond any use, and keep what is derived from them within a float.
    steps: Annotated[int | None, Field(gt=0, le=10**15)] = None
    flops: Annotated[float | None, Field(gt=0, le=1e30, json_schema_extra=ADDED_LATER)] = None
    seconds: Annotated[float | None, Field(gt=0, le=1e9, json_schema_extra=ADDED_LATER)] = None

    @model_validator(mode="after")
    def _check(self) -> BudgetConfig:
        # Not a ValueError, to which Pydantic would add words of its own.
        given = [f"budget.{name}" for name, value in self if value is not None]
        if len(given) != 1:
            few = "no budget is given" if not given else f"{' and '.join(given)} are both given"
            raise DitbenchError(few, "give one of budget.steps, budget.flops and budget.seconds")
        return self


class TrainConfig(Section):
    """The optimizer; `warmup` is a share of the budget, `ema_decay` bounds a warmed-up decay.

    An `ema_decay` of 1 is no bound: the average then reaches back over a ninth of all updates.
    """

    batch_size: Annotated[int, Field(gt=0)] = 128
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.04
    ema_decay: Annotated[float, Field(ge=0, le=1)] = 0.999
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # The largest 2-norm of a gradient; unset, as in the paper, none is too large.
    grad_clip: Annotated[float | None, Field(gt=0, json_schema_extra=ADDED_LATER)] = None
    # At a loss or gradient that is not finite.
    on_nonfinite: Annotated[Literal["stop", "skip"], Field(json_schema_extra=ADDED_LATER)] = "stop"


class EvalConfig(Section):
    """When and how samples are drawn: `points` evaluations, evenly spaced, the last at the end."""

    points: Annotated[int, Field(gt=0)] = 6
    samples: Annotated[int, Field(gt=1, le=10**7)] = 2_000
    sampler: str = "auto"
    sampling_steps: Annotated[int, Field(gt=0, le=10**6)] = 25
    cfg_scale: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    batch_size: Annotated[int, Field(gt=0, le=10**6)] = 500


class MetricsConfig(Section):
    """Whose features the metrics are computed in."""

    features: str = "digits"
    inception_weights: Location = None


class StrategyConfig(Section):
    """Of a strategy that is not ditbench's own, where it is and what it is; else nothing.

    A plan fills it in. `sha256` is of the file that its class is in.
    """

    location: Annotated[str | None, Field(json_schema_extra=NOT_IDENTITY)] = None
    sha256: Annotated[
        str | None, Field(pattern="^[0-9a-f]{64}$", json_schema_extra=ADDED_LATER)
    ] = None


class RunConfig(Section):
    """Everything that determines the result of one run, and the labels that name it."""

    preset: Annotated[str, Field(json_schema_extra=NOT_IDENTITY)] = "digits"
    block: str = "adaln-zero"
    # Not part of the fingerprint: the seeds of one experiment share it, and stand beside it.
    seed: Annotated[int, Field(ge=0, lt=2**63, json_schema_extra=NOT_IDENTITY)] = 0
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    budget: BudgetConfig = BudgetConfig(steps=1_200)
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    metrics: MetricsConfig = MetricsConfig()
    # The strategy's own, which states their names and defaults; a plan fills them in.
    options: Annotated[dict[str, Option], Field(json_schema_extra=ADDED_LATER)] = {}
    strategy: StrategyConfig = StrategyConfig()

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        # A budget in FLOPs is checked once the block's cost says how many steps it is.
        if self.budget.steps is not None and self.eval.points > self.budget.steps:
            raise DitbenchError(
                f"eval.points ({self.eval.points}) exceed budget.steps ({self.budget.steps})",
                f"train longer (--steps), or evaluate less: --set eval.points={self.budget.steps}",
            )
        # It names a directory, which has to stay where --out says.
        if not re.fullmatch(r"\w[\w.-]*", self.preset) or not self.preset.isprintable():
            raise DitbenchError(
                f"preset = {self.preset!r} cannot name a directory",
                "use letters, digits and .-_ only, such as my-experiment",
            )
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every key that determines the result, the seed apart; 64 hex digits."""
        text = json.dumps(_identity(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def with_values(self, **values: Any) -> RunConfig:
        """A validated copy in which `section__key=value` and `key=value` are replaced."""
        table = self.model_dump(mode="json", exclude_none=True)
        put(table, {name.replace("__", "."): value for name, value in values.items()})
        return validate(table)

    def to_toml(self) -> str:
        """The configuration as TOML text that `load` reads back to an equal one.

        What was added later and is not used is left out: a run without it says what it always said.
        """
        table = self.model_dump(mode="json", exclude_none=True)
        _drop_unused(self, table)
        return tomli_w.dumps(table)


def _is_unused(field: FieldInfo, value: Any) -> bool:
    """Whether a key was added later and has its default."""
    return field.json_schema_extra == ADDED_LATER and value == field.default


def _drop_unused(section: Section, table: Table) -> None:
    """Take the keys that are not used out of what a section was dumped to."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            _drop_unused(value, table[name])
        if _is_unused(field, value) or table.get(name) == {}:
            table.pop(name, None)


def _identity(section: Section) -> Table:
    table: Table = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if field.json_schema_extra == NOT_IDENTITY or _is_unused(field, value):
            continue
        table[name] = _identity(value) if isinstance(value, Section) else value
        if table[name] == {}:  # a section that came later, and of which nothing is used
            del table[name]
    return table


def keys(section: type[Section] = RunConfig, prefix: str = "") -> list[str]:
    """Every key of the configuration, dotted: `train.lr`, `model.depth`, ..."""
    names: list[str] = []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            names += keys(field.annotation, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def validate(table: Table) -> RunConfig:
    """Turn a table into a `RunConfig`; a DitbenchError names the first key that is wrong."""
    try:
        return RunConfig.model_validate(table)
    except ValidationError as error:
        raise _explain(error) from None


def _explain(error: ValidationError) -> DitbenchError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown_name("key", key, keys())
    if first["type"] == "model_type":
        return DitbenchError(f"{key} is a section, not a value", f"name a key: {key}.KEY=VALUE")
    given = "a table" if isinstance(first["input"], dict) else repr(first["input"])
    return DitbenchError(
        f"{key} = {given}: {first['msg'].removeprefix('Input ')}",
        f"give another value: --set {key}=VALUE",
    )


def put(table: Table, layer: Table) -> None:
    """Put the dotted keys of one layer into a table; a budget among them replaces the one there.

    Raises:
        DitbenchError: for a key below one that is no section.
    """
    if any(key.startswith("budget.") for key in layer):
        table["budget"] = {}
    for key, value in layer.items():
        *sections, last = key.split(".")
        below = table
        for section in sections:
            below = below.setdefault(section, {})
            if not isinstance(below, dict):
                raise unknown_name("key", key, keys())
        below[last] = value
