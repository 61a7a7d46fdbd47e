"""The sections of a run's configuration: their keys, defaults and limits. Torch-free."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ditbench.config.base import Location, Mark, Names, Section, Table
from ditbench.data.pictures.settings import DEFAULTS, Settings
from ditbench.errors import DitbenchError
from ditbench.models.sizes import ModelSize

DIGEST = "^[0-9a-f]{64}$"


class DataConfig(Section):
    """The images: a data set by name, or the folder, zip or .npz at `path`."""

    name: str = "digits"
    """The data set: digits, cifar10, fashion-mnist, folder, npz, latents, or torchvision's name."""
    path: Location = None
    """The folder, zip or .npz with the images or latents. --data sets it, and the name."""
    digest: str = "auto"
    """The SHA-256 of the images, filled in when they are read: a path does not identify them."""
    horizontal_flip: bool = False
    """Mirror each image with probability 1/2 while training."""
    # How pictures of any size and mode are read. The digest covers the pixels that result.
    image_size: Annotated[
        int | None, Field(gt=0, le=4_096), Mark.NOT_IDENTITY, Mark.ADDED_LATER
    ] = None
    """Resize pictures to squares of this many pixels. Unset, they must have one size.

    Of latents whose files do not say it: the size of the images that were encoded."""
    background: Annotated[str, Mark.NOT_IDENTITY, Mark.ADDED_LATER] = DEFAULTS.background
    """The colour behind transparent pictures: a name or #rrggbb."""
    random_crop: Annotated[bool, Mark.NOT_IDENTITY, Mark.ADDED_LATER] = DEFAULTS.random_crop
    """Crop each picture at a place that depends on its name, not in the centre."""
    max_unreadable: Annotated[float, Field(ge=0, le=1), Mark.NOT_IDENTITY, Mark.ADDED_LATER] = (
        DEFAULTS.max_unreadable
    )
    """The largest share of unreadable pictures, which are skipped. With more, nothing is run."""
    label_column: Annotated[str | None, Mark.NOT_IDENTITY, Mark.ADDED_LATER] = None
    """The column of metadata.csv or metadata.jsonl with the classes. Unset, it is found by name."""
    vae: Annotated[Location, Mark.ADDED_LATER] = None
    """The autoencoder that decodes samples of latents: a folder or a name; --vae sets it."""
    vae_digest: Annotated[str | None, Field(pattern=DIGEST), Mark.ADDED_LATER] = None
    """The SHA-256 of its weights, filled in when they are read."""

    scaling_factor: Annotated[
        float | None, Field(gt=0, le=1e6), Mark.NOT_IDENTITY, Mark.ADDED_LATER
    ] = None
    """The factor of latents whose files do not say it: 0.18215 for Stable Diffusion's."""

    @property
    def settings(self) -> Settings:
        """How files are read."""
        names = (field.name for field in fields(Settings))
        return Settings(**{name: getattr(self, name) for name in names})


class ModelConfig(Section):
    """The transformer around the blocks (Peebles & Xie 2022, section 3.2).

    `--model` sets the first four keys. The last three are not in the paper's model.
    """

    hidden_size: Annotated[int, Field(gt=0)] = 64
    """The width D of each token."""
    depth: Annotated[int, Field(gt=0)] = 4
    """The number of blocks."""
    num_heads: Annotated[int, Field(gt=0)] = 4
    """Attention heads per block; a divisor of hidden_size."""
    patch_size: Annotated[int, Field(gt=0)] = 2
    """The side of the square patches, in pixels; one token each."""
    mlp_ratio: Annotated[float, Field(gt=0, le=64)] = 4.0
    """The hidden width of the MLPs, as a multiple of hidden_size."""
    class_dropout_prob: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The probability that an image is trained without its class, which guidance needs."""
    qk_norm: Annotated[bool, Mark.ADDED_LATER] = False
    """Normalize queries and keys per head, by RMSNorm with learned gains."""
    norm: Annotated[Literal["layer", "rms"], Mark.ADDED_LATER] = "layer"
    """LayerNorm, or RMSNorm in its place; both without gains."""
    registers: Annotated[int, Field(ge=0, le=65_536), Mark.ADDED_LATER] = 0
    """Learned tokens in addition to those of the image."""

    @model_validator(mode="after")
    def _check_width(self) -> ModelConfig:
        if min(self.hidden_size, 2**53) * self.mlp_ratio < 1:  # larger ones overflow a float
            what = f"model.mlp_ratio = {self.mlp_ratio:g} gives the MLP a width of 0"
            raise DitbenchError(what, "choose a larger one: the paper's is 4")
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
    """The training objective."""

    name: str = "flow"
    """flow: rectified flow; ddpm: the paper's. --objective sets it."""
    learn_sigma: bool | None = None
    """Learn the variances of ddpm, too; on for ddpm if unset. flow does not have it."""


class BudgetConfig(Section):
    """How long to train: exactly one of these keys."""

    # Larger values have no use, and what is derived from them could overflow a float.
    steps: Annotated[int | None, Field(gt=0, le=10**15)] = None
    """Updates; --steps."""
    flops: Annotated[float | None, Field(gt=0, le=1e30), Mark.ADDED_LATER] = None
    """Floating-point operations of training, 3 x 2 x forward MACs x images; --flops."""
    seconds: Annotated[float | None, Field(gt=0, le=1e9), Mark.ADDED_LATER] = None
    """Seconds of training, without evaluation; --time."""

    @model_validator(mode="after")
    def _check(self) -> BudgetConfig:
        # Not a ValueError: pydantic would prepend text to the message.
        given = [f"budget.{name}" for name, value in self if value is not None]
        if len(given) != 1:
            what = f"{' and '.join(given)} are both given" if given else "no budget is given"
            raise DitbenchError(what, "give one of budget.steps, budget.flops and budget.seconds")
        return self


class TrainConfig(Section):
    """The optimizer, and how a step is computed."""

    batch_size: Annotated[int, Field(gt=0)] = 128
    """Images per update, on all GPUs together."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """The learning rate after the warm-up; constant from there on."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """The weight decay of AdamW."""
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.04
    """The share of the budget in which the learning rate rises from 0."""
    ema_decay: Annotated[float, Field(ge=0, le=1)] = 0.999
    """The upper bound of the decay of the averaged weights, which rises during training.

    With 1 there is no bound: the average covers about the last ninth of all updates.
    """
    precision: Literal["auto", "fp32", "bf16", "bf16-residual", "fp8"] = "auto"
    """The number type of products; auto is bf16 on GPUs that have it, and fp32 elsewhere.

    With bf16-residual the tokens between blocks (the residual stream) are bf16, too: faster. With
    fp8 the large products of training are FP8: faster for models of the size of XL.
    """
    grad_clip: Annotated[float | None, Field(gt=0), Mark.ADDED_LATER] = None
    """The largest 2-norm of a gradient. Unset, as in the paper, gradients are not clipped."""
    on_nonfinite: Annotated[Literal["stop", "skip"], Mark.ADDED_LATER] = "stop"
    """At a loss or gradient that is not finite: stop the run, or skip the update and count it."""
    backend: Annotated[
        Literal["auto", "plain", "compile", "kernels"], Mark.NOT_IDENTITY, Mark.ADDED_LATER
    ] = "auto"
    """The implementation of a training step; all agree up to rounding."""
    micro_batch: Annotated[int | None, Field(gt=0), Mark.NOT_IDENTITY, Mark.ADDED_LATER] = None
    """The images per GPU that are computed at a time, to use less memory. Unset: the whole batch.

    The result is that of the whole batch, up to rounding.
    """
    checkpoint_blocks: Annotated[bool, Mark.NOT_IDENTITY, Mark.ADDED_LATER] = False
    """Recompute each block in the backward pass: less memory, a third more time, same result."""


class EvalConfig(Section):
    """Sampling for the metrics.

    The final model may be scored more often: with another number of steps, and with several draws
    of noise, whose mean is the final score. The curve along training stays as it is.
    """

    points: Annotated[int, Field(gt=0)] = 6
    """How often a run is evaluated, evenly spaced, the last time at the end."""
    samples: Annotated[int, Field(gt=1, le=10**7)] = 2_000
    """Generated images per evaluation."""
    sampler: str = "auto"
    """euler or heun for flow; ddpm or ddim for ddpm; auto is the first of them."""
    sampling_steps: Annotated[int, Field(gt=0, le=10**6)] = 25
    """Steps of the sampler per image."""
    cfg_scale: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """The scale of classifier-free guidance. 1 is none; others take two forward passes per step."""
    batch_size: Annotated[int, Field(gt=0, le=10**6)] = 500
    """Images that are sampled at a time; limited by memory."""
    labels: Annotated[Literal["auto", "balanced", "data"], Mark.ADDED_LATER] = "auto"
    """The classes of the samples: equally many of each, or in the proportions of the data.

    auto is balanced while the largest class has at most 1.5 times the smallest's images.
    """
    final_sampling_steps: Annotated[int | None, Field(gt=0, le=10**6), Mark.ADDED_LATER] = None
    """The steps of the final score. Unset, they are those of the evaluations along the way."""
    clip: Annotated[bool | None, Mark.ADDED_LATER] = None
    """Clamp samples, and each step's predicted image, to [-1, 1]. Unset, pixels but not latents."""
    cfg_channels: Annotated[int | None, Field(gt=0, le=65_536), Mark.ADDED_LATER] = None
    """Guide the first channels only: 3 of 4 is the released code's default. Unset, all."""
    variance: Annotated[Literal["small", "large"], Mark.ADDED_LATER] = "small"
    """The fixed variance of sampler ddpm with learn_sigma=false; large is the released default."""
    spacing: Annotated[Literal["even", "stride"], Mark.ADDED_LATER] = "even"
    """The timesteps of ddpm's samplers: from first to last, or the released code's ddimN."""
    draws: Annotated[int, Field(gt=0, le=10**4), Mark.NOT_IDENTITY, Mark.ADDED_LATER] = 1
    """How many draws of noise the final score averages. More measure the same more precisely."""

    @property
    def steps_of_final(self) -> int:
        """The sampling steps of the final score."""
        return self.final_sampling_steps or self.sampling_steps

    @property
    def extra_draws(self) -> int:
        """How often the final model is sampled after the last evaluation of the curve."""
        return self.draws - (self.final_sampling_steps is None)


class MetricsConfig(Section):
    """The network whose features the metrics use, and further metrics."""

    features: str = "digits"
    """The network in whose features samples are scored: see `ditbench features`."""
    inception_weights: Location = None
    """The file of Inception's weights. Unset, it is torch's cache or a download."""
    extra: Annotated[Names, Mark.ADDED_LATER] = ()
    """Metrics in addition to the default ones: inception_score, memorization, fid_infinity."""
    also: Annotated[Names, Mark.ADDED_LATER] = ()
    """Further features in which the same samples are scored, too."""
    real: Annotated[Location, Mark.ADDED_LATER] = None
    """The real images, if they are not those of the data: a folder, a zip, an .npz, or a name.

    An .npz of ADM's evaluation has their statistics, mu and sigma, instead. --real sets it.
    """
    real_digest: Annotated[str | None, Field(pattern=DIGEST), Mark.ADDED_LATER] = None
    """A SHA-256 that identifies them, filled in when they are read."""

    @property
    def further(self) -> tuple[str, ...]:
        """`also` without repetitions, and without `features`."""
        return tuple(name for name in dict.fromkeys(self.also) if name != self.features)


class ParentConfig(Section):
    """The finished run that a run continues, see `ditbench run --continue`; empty for others."""

    path: Annotated[Location, Mark.ADDED_LATER] = None
    """The directory of that run."""
    fingerprint: Annotated[str | None, Field(pattern=DIGEST), Mark.ADDED_LATER] = None
    """Its fingerprint, which identifies its settings."""
    steps: Annotated[int | None, Field(gt=0, le=10**15), Mark.ADDED_LATER] = None
    """Its updates, which count as those of the run."""
    points: Annotated[int | None, Field(gt=0), Mark.ADDED_LATER] = None
    """Its evaluations, which count as those of the run."""

    @model_validator(mode="after")
    def _check(self) -> ParentConfig:
        if len({value is None for value in (self.fingerprint, self.steps, self.points)}) > 1:
            raise DitbenchError(
                "of parent.fingerprint, parent.steps and parent.points only some are given",
                "leave all of [parent] out, and train on by `ditbench run --continue RUN`",
            )
        return self


class InitConfig(Section):
    """The weights that a run starts from, see `ditbench run --init`; empty for others."""

    path: Annotated[Location, Mark.ADDED_LATER] = None
    """A file of weights, a folder of diffusers or a run directory. --init sets it."""
    sha256: Annotated[str | None, Field(pattern=DIGEST), Mark.ADDED_LATER] = None
    """The SHA-256 of the file, filled in when it is read: a path does not identify it."""


class ExternalBlockConfig(Section):
    """Where a block comes from that is not ditbench's own: the plan of a run fills it in."""

    location: Annotated[str | None, Mark.NOT_IDENTITY, Mark.ADDED_LATER] = None
    """The block's class: FILE.py:CLASS or MODULE:CLASS."""
    sha256: Annotated[str | None, Field(pattern=DIGEST), Mark.ADDED_LATER] = None
    """The SHA-256 of its file."""
