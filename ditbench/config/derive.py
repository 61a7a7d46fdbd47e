"""The settings of a run on someone's own pictures, from the pictures alone. Torch-free.

The rules are those of docs/your-images.md. They depend on nothing but the pictures, so that the
same command makes the same run everywhere.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ditbench.config.load import presets
from ditbench.models.sizes import parse_model
from ditbench.rundir import TUNING

if TYPE_CHECKING:
    from ditbench.data.pictures.survey import Survey

# Sides of images. Pictures of one common size up to the first of them keep it.
SIDES = (32, 64, 128, 256)
SMALL_SIDES = (8, 16)  # where pictures are smaller
MOST_TOKENS = 256
LEAST_EPOCHS, MOST_EPOCHS = 10, 400
LEAST_BATCHES = 4  # per epoch
POINTS = 6
LEAST_SAMPLES = 100
EMA, LONG_EMA, LONG = 0.999, 0.9999, 100_000
# Names of directories below results that are something else.
RESERVED = {*presets(), TUNING, "reference"}
LONGEST_NAME = 60  # letters, of at most 4 bytes each: a file name has at most 255


class Scale(NamedTuple):
    """What suits data sets of up to `most_images` images."""

    most_images: float
    model: str
    batch_size: int
    steps: int
    lr: float
    samples: int
    sampling_steps: int


SCALES = (
    Scale(2_499, "64x4x4", 128, 2_000, 1e-3, 1_000, 25),
    Scale(24_999, "256x8x4", 128, 5_000, 5e-4, 2_000, 25),
    Scale(249_999, "S", 256, 20_000, 5e-4, 10_000, 50),
    Scale(math.inf, "B", 256, 50_000, 2e-4, 10_000, 50),
)


class Setting(NamedTuple):
    """A key of the configuration, its value, and the reason in a few words."""

    key: str
    value: Any
    why: str


def scale_of(images: int) -> Scale:
    """What suits this number of images."""
    return next(scale for scale in SCALES if images <= scale.most_images)


def derive(survey: Survey, given: Mapping[str, Any] = {}) -> list[Setting]:
    """The settings for the pictures of a survey, in the order of the configuration.

    `given` are values by dotted key that are chosen already; the rules take those of the image
    size and the batch size into account.
    """
    N, K = survey.images, len(survey.classes)
    scale = scale_of(N)
    batch = given.get("train.batch_size", batch_size(N, scale.batch_size))
    steps = bounded_steps(scale.steps, N, batch)
    points = min(POINTS, steps)
    # Sampling takes no more passes through the model than training: a step is about three.
    affordable = 3 * steps * batch // (points * scale.sampling_steps)
    samples = max(K, LEAST_SAMPLES, min(scale.samples, affordable // 100 * 100))
    name, epochs = safe_name(survey.name), steps * batch / N
    return [
        Setting("preset", name, f"results go to results/{name}/"),
        *_pictures(survey, given),
        Setting("model.class_dropout_prob", 0.1 if K > 1 else 0.0,
                "trains the guidance" if K > 1 else "one class: nothing to drop"),
        Setting("objective.name", "flow", "or ddpm"),
        Setting("budget.steps", steps, f"{epochs:,.0f} epochs"),
        Setting("train.batch_size", batch, f"{N / batch:,.4g} batches per epoch"),
        Setting("train.lr", scale.lr, "`ditbench tune` finds one for each block"),
        Setting("train.warmup", 0.04, "a share of the steps"),
        Setting("train.ema_decay", LONG_EMA if steps >= LONG else EMA, "of the averaged weights"),
        Setting("eval.points", points, "evaluations, the last one at the end"),
        Setting("eval.samples", samples, "per evaluation"),
        Setting("eval.sampling_steps", scale.sampling_steps, "per sample"),
        Setting("metrics.features", "auto", "the best that this machine has"),
    ]  # fmt: skip


def choose(settings: Sequence[Setting], given: Mapping[str, Any]) -> list[Setting]:
    """Settings with values that the user gives, and further ones, each in its section."""
    chosen = {setting.key: setting for setting in settings}
    chosen |= {key: Setting(key, value, "chosen") for key, value in given.items()}
    if any(key.startswith("budget.") for key in given):
        for key in [key for key in chosen if key.startswith("budget.") and key not in given]:
            del chosen[key]
    sections = list(dict.fromkeys(key.rpartition(".")[0] for key in chosen))
    return sorted(chosen.values(), key=lambda s: sections.index(s.key.rpartition(".")[0]))


def _pictures(survey: Survey, given: Mapping[str, Any]) -> Iterator[Setting]:
    """What pictures are trained on, and the model for them."""
    yield Setting("data.name", survey.source, "")
    if survey.path is not None:
        yield Setting("data.path", str(survey.path), "")
    side = None if survey.latents else given.get("data.image_size", image_size(survey))
    width, height = (side, side) if side else survey.common_size or (0, 0)
    if side:
        why = f"the median of the shorter sides is {survey.shorter_side} pixels"
        yield Setting("data.image_size", side, why)
    yield Setting("data.horizontal_flip", *_flip(survey))
    model = parse_model(f"{scale_of(survey.images).model}/{patch_size(width, height)}")
    yield Setting("model.hidden_size", model.hidden_size, f"for {survey.images:,} images")
    yield Setting("model.depth", model.depth, "")
    yield Setting("model.num_heads", model.num_heads, "")
    P = model.patch_size
    yield Setting("model.patch_size", P, f"{tokens(width, height, P)} tokens per image")


def _flip(survey: Survey) -> tuple[bool, str]:
    """Whether images are mirrored, and why."""
    if survey.latents:
        there = "there" if survey.flipped else "not there"
        return survey.flipped, f"latents of mirrored images are {there}"
    if survey.channels == 1:
        return False, "grey"
    symbols = are_symbols(survey.classes)
    return not symbols, "the classes are symbols" if symbols else "in colour"


def image_size(survey: Survey) -> int | None:
    """The side that pictures are resized to; None if they keep their common size.

    The largest of `SIDES` not above the median of the shorter sides.
    """
    common = survey.common_size
    if common and max(common) <= SIDES[0] and tokens(*common, patch_size(*common)) <= MOST_TOKENS:
        return None
    sides = (*SMALL_SIDES, *SIDES)
    return max((side for side in sides if side <= survey.shorter_side), default=sides[0])


def patch_size(width: int, height: int) -> int:
    """The smallest patch, of 2 pixels or more, that makes 2 to `MOST_TOKENS` tokens; else 1."""
    both = math.gcd(width, height)
    sizes = (size for size in range(2, both + 1) if both % size == 0)
    return next((P for P in sizes if 1 < tokens(width, height, P) <= MOST_TOKENS), 1)


def tokens(width: int, height: int, patch: int) -> int:
    """The number of patches of an image."""
    return (width // patch) * (height // patch)


def batch_size(images: int, most: int) -> int:
    """The largest power of two that makes at least `LEAST_BATCHES` batches per epoch."""
    share = max(1, min(most, images // LEAST_BATCHES))
    return 1 << share.bit_length() - 1


def bounded_steps(steps: int, images: int, batch: int) -> int:
    """The steps within the bounds of epochs; at least one."""
    least, most = LEAST_EPOCHS * images / batch, MOST_EPOCHS * images / batch
    return max(1, math.ceil(least), min(steps, math.floor(most)))


def are_symbols(names: Mapping[str, int]) -> bool:
    """Whether classes are named by numbers or single letters: digits, signs, letters."""
    return len(names) > 1 and all(len(name) == 1 or name.isdecimal() for name in names)


def safe_name(text: str) -> str:
    """A name for the directory of an experiment, from any text.

    Each run of characters other than letters, digits, `.`, `_` and `-` becomes one `-`. Signs at
    both ends are removed. Names that results use otherwise, such as those of presets, end in
    `-images`.
    """
    normal = unicodedata.normalize("NFC", text)
    name = re.sub(r"[^\w.-]+", "-", normal)[:LONGEST_NAME].strip(".-")
    if not name.isprintable() or not name:
        name = "images"
    return f"{name}-images" if name.lower() in RESERVED else name
