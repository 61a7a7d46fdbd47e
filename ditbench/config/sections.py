"""The sections of a run's configuration: their keys, defaults and limits. Torch-free."""

from __future__ import annotations

import os
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ditbench.data.settings import DEFAULTS, Settings
from ditbench.errors import DitbenchError
from ditbench.files import check_utf8
from ditbench.models.sizes import ModelSize

Table = dict[str, Any]


class Mark(Enum):
    """How a key is treated in the fingerprint and in config.toml; without a mark it is in both.

    NOT_IDENTITY: a name, a location or a choice of implementation. It does not change what is
    computed, so it is not part of the fingerprint.
    ADDED_LATER: a key that was added after runs had been made. Its default is what those runs did.
    At its default it is left out of both, so that those runs keep their fingerprint.
    """

    NOT_IDENTITY = "not identity"
    ADDED_LATER = "added later"


def _location(value: Any) -> Any:
    """A path of a user: `~` is the home directory, and `.` gets the name of its folder."""
    if not isinstance(value, str | Path):
        return value
    path = Path(os.path.expanduser(value))  # noqa: PTH111 (that of Path raises for unknown users)
    check_utf8(path)
    # Tables name the images by the last part of their path.
    return path if path.name not in ("", "..") else Path(os.path.abspath(path))  # noqa: PTH100


# A path is text in TOML.
Location = Annotated[
    Path | None, Field(strict=False), BeforeValidator(_location), Mark.NOT_IDENTITY
]
# A number that a block defines: a rank, a count of tokens.
Option = Annotated[int, Field(gt=0, le=65_536)]


def _split_names(given: Any) -> Any:
    """The names in a text that separates them by commas; anything else as it is."""
    if not isinstance(given, str):
        return given
    return [name for part in given.split(",") if (name := part.strip())]


# A list of names in TOML, or one text with commas: `--set metrics.also=a,b`.
Names = Annotated[
    tuple[str, ...], Field(strict=False), BeforeValidator(_split_names), Mark.NOT_IDENTITY
]


class Section(BaseModel):
    """A table of the configuration: immutable, without unknown keys; `true` is not a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(Section):
    """The images: a data set by name, or the folder, zip or .npz at `path`."""

    name: str = "digits"
    path: Location = None
    # Filled in when the data are read, because a path does not identify its contents.
    digest: str = "auto"
    horizontal_flip: bool = False
    # How pictures of any size and mode are read. The digest covers the pixels that result.
    image_size: Annotated[
        int | None, Field(gt=0, le=4_096), Mark.NOT_IDENTITY, Mark.ADDED_LATER
    ] = None
    background: Annotated[str, Mark.NOT_IDENTITY, Mark.ADDED_LATER] = DEFAULTS.background
    random_crop: Annotated[bool, Mark.NOT_IDENTITY, Mark.ADDED_LATER] = DEFAULTS.random_crop
    max_unreadable: Annotated[float, Field(ge=0, le=1), Mark.NOT_IDENTITY, Mark.ADDED_LATER] = (
        DEFAULTS.max_unreadable
    )
    label_column: Annotated[str | None, Mark.NOT_IDENTITY, Mark.ADDED_LATER] = None

    @property
    def settings(self) -> Settings:
        """How pictures are read."""
        names = (field.name for field in fields(Settings))
        return Settings(**{name: getattr(self, name) for name in names})


class ModelConfig(Section):
    """The transformer around the blocks (Peebles & Xie 2022, section 3.2).

    The last three keys are not in the paper's model, and are off by default: `qk_norm` normalizes
    queries and keys per head, `norm = "rms"` replaces LayerNorm by RMSNorm (both without a gain),
    and `registers` is a number of learned tokens in addition to the image's.
    """

    hidden_size: Annotated[int, Field(gt=0)] = 64
    depth: Annotated[int, Field(gt=0)] = 4
    num_heads: Annotated[int, Field(gt=0)] = 4
    patch_size: Annotated[int, Field(gt=0)] = 2
    mlp_ratio: Annotated[float, Field(gt=0, le=64)] = 4.0
    class_dropout_prob: Annotated[float, Field(ge=0, lt=1)] = 0.1
    qk_norm: Annotated[bool, Mark.ADDED_LATER] = False
    norm: Annotated[Literal["layer", "rms"], Mark.ADDED_LATER] = "layer"
    registers: Annotated[int, Field(ge=0, le=65_536), Mark.ADDED_LATER] = 0

    @model_validator(mode="after")
    def _check_width(self) -> ModelConfig:
        if min(self.hidden_size, 2**53) * self.mlp_ratio < 1:  # larger ones overflow a float
            raise DitbenchError(
                f"model.mlp_ratio = {self.mlp_ratio:g} gives the MLP a width of 0",
                "choose a larger one: the paper's is 4",
            )
        return self

    @property
    def size(self) -> ModelSize:
        """Hidden size, depth, heads and patch size."""
        return ModelSize(self.hidden_size, self.depth, self.num_heads, self.patch_size)

    @property
    def switches(self) -> Table:
        """The three keys that are not in the paper's model, as keyword arguments of `DiT`."""
        return {"qk_norm": self.qk_norm, "norm": self.norm, "registers": self.registers}


class ObjectiveConfig(Section):
    """The training objective; `learn_sigma` is an option of `ddpm`, on by default."""

    name: str = "flow"
    learn_sigma: bool | None = None


class BudgetConfig(Section):
    """How long to train: exactly one of these keys.

    `steps` counts updates. `flops` counts floating-point operations of training: 3 x 2 x forward
    MACs x images. `seconds` is training time without evaluation.
    """

    # Larger values have no use, and what is derived from them could overflow a float.
    steps: Annotated[int | None, Field(gt=0, le=10**15)] = None
    flops: Annotated[float | None, Field(gt=0, le=1e30), Mark.ADDED_LATER] = None
    seconds: Annotated[float | None, Field(gt=0, le=1e9), Mark.ADDED_LATER] = None

    @model_validator(mode="after")
    def _check(self) -> BudgetConfig:
        # Not a ValueError: pydantic would prepend text to the message.
        given = [f"budget.{name}" for name, value in self if value is not None]
        if len(given) != 1:
            what = f"{' and '.join(given)} are both given" if given else "no budget is given"
            raise DitbenchError(what, "give one of budget.steps, budget.flops and budget.seconds")
        return self


class TrainConfig(Section):
    """The optimizer, and how a step is computed.

    `warmup` is a share of the budget. `ema_decay` is the upper bound of a decay that rises during
    training; with 1 there is no bound, and the average covers about the last ninth of all updates.
    """

    batch_size: Annotated[int, Field(gt=0)] = 128
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.04
    ema_decay: Annotated[float, Field(ge=0, le=1)] = 0.999
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # The largest 2-norm of a gradient. Unset, as in the paper, gradients are not clipped.
    grad_clip: Annotated[float | None, Field(gt=0), Mark.ADDED_LATER] = None
    # What happens at a loss or gradient that is not finite.
    on_nonfinite: Annotated[Literal["stop", "skip"], Mark.ADDED_LATER] = "stop"
    # The implementation of a training step; all agree up to rounding.
    backend: Annotated[
        Literal["auto", "plain", "compile", "kernels"], Mark.NOT_IDENTITY, Mark.ADDED_LATER
    ] = "auto"


class EvalConfig(Section):
    """Sampling for the metrics: `points` evaluations, evenly spaced, the last one at the end.

    The final model may be scored more often: with another number of steps, and with `draws` draws
    of noise, whose mean is the final score. The curve along training stays as it is.
    """

    points: Annotated[int, Field(gt=0)] = 6
    samples: Annotated[int, Field(gt=1, le=10**7)] = 2_000
    sampler: str = "auto"
    sampling_steps: Annotated[int, Field(gt=0, le=10**6)] = 25
    cfg_scale: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    batch_size: Annotated[int, Field(gt=0, le=10**6)] = 500
    # The classes of the samples: equally many of each (`balanced`) or in the proportions of the
    # data. `auto` is balanced while the largest class has at most 1.5 times the smallest's images.
    labels: Annotated[Literal["auto", "balanced", "data"], Mark.ADDED_LATER] = "auto"
    # The steps of the final score. Unset, they are those of the evaluations along the way.
    final_sampling_steps: Annotated[int | None, Field(gt=0, le=10**6), Mark.ADDED_LATER] = None
    # More draws measure the same thing more precisely.
    draws: Annotated[int, Field(gt=0, le=10**4), Mark.NOT_IDENTITY, Mark.ADDED_LATER] = 1

    @property
    def steps_of_final(self) -> int:
        """The sampling steps of the final score."""
        return self.final_sampling_steps or self.sampling_steps

    @property
    def extra_draws(self) -> int:
        """How often the final model is sampled after the last evaluation of the curve."""
        return self.draws - (self.final_sampling_steps is None)


class MetricsConfig(Section):
    """The network whose features the metrics use, and further metrics.

    `extra` names metrics beside the default ones. `also` names further features: the same samples
    are scored in them, too. Neither changes what is trained or sampled.
    """

    features: str = "digits"
    inception_weights: Location = None
    extra: Annotated[Names, Mark.ADDED_LATER] = ()
    also: Annotated[Names, Mark.ADDED_LATER] = ()

    @property
    def further(self) -> tuple[str, ...]:
        """`also` without repetitions, and without `features`."""
        return tuple(name for name in dict.fromkeys(self.also) if name != self.features)


class ParentConfig(Section):
    """The finished run that a run continues, see `ditbench run --continue`; empty for others.

    `steps` and `points` are its updates and evaluations, which count as those of the run.
    """

    path: Annotated[Location, Mark.ADDED_LATER] = None
    fingerprint: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$"), Mark.ADDED_LATER] = None
    steps: Annotated[int | None, Field(gt=0, le=10**15), Mark.ADDED_LATER] = None
    points: Annotated[int | None, Field(gt=0), Mark.ADDED_LATER] = None

    @model_validator(mode="after")
    def _check(self) -> ParentConfig:
        if len({value is None for value in (self.fingerprint, self.steps, self.points)}) > 1:
            raise DitbenchError(
                "of parent.fingerprint, parent.steps and parent.points only some are given",
                "leave all of [parent] out, and train on by `ditbench run --continue RUN`",
            )
        return self


class ExternalBlockConfig(Section):
    """Where a block that is not ditbench's own comes from, and the SHA-256 of its file.

    The plan of a run fills it in; it is empty for ditbench's own blocks.
    """

    location: Annotated[str | None, Mark.NOT_IDENTITY, Mark.ADDED_LATER] = None
    sha256: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$"), Mark.ADDED_LATER] = None
