"""What the files of one run say twice has to agree: a digit that was changed is found, not told.

A run writes most of its numbers more than once, or numbers that follow from others. A file that was
damaged, edited or copied from another run breaks that, and every such run is named. What is said
once alone (an FID along the way, a device's name) cannot be checked by anyone.
"""

from __future__ import annotations

import functools
import math
from itertools import pairwise
from typing import TYPE_CHECKING

from ditbench.config.schema import keys, put, validate
from ditbench.errors import DitbenchError
from ditbench.models.sizes import ModelSize
from ditbench.report import fields
from ditbench.report.fields import show

if TYPE_CHECKING:
    from typing import Any

    from ditbench.report.fields import Row

# Floats are written in full; what was multiplied in another order differs in the last digits.
TOLERANCE = 1e-9
GIGA = 1e9
# Backward passes cost twice the forward one, a MAC is two operations: 3 x 2.
FLOPS_PER_MAC = 6

# Columns of eval.csv that hold a setting, and its key; `auto` may stand there for any sampler.
_SETTINGS = {
    "samples": "eval.samples",
    "sampler": "eval.sampler",
    "sampling_steps": "eval.sampling_steps",
    "cfg_scale": "eval.cfg_scale",
    "features": "metrics.features",
    "ema_decay": "train.ema_decay",
}


def crosscheck(flat: Row, cost: Row, result: Row, evaluations: list[Row]) -> None:
    """Hold the files of a run against each other.

    Args:
        flat: config.toml with dotted keys.
        cost: cost.json.
        result: result.json.
        evaluations: the rows of eval.csv, checked one by one; the last is at the run's end.

    Raises:
        DitbenchError: two files disagree; both and what they say are named. What an older or newer
            version does not write is not asked for.
    """
    last = evaluations[-1]
    for name, column in (
        ("images", "images"),
        ("train_flops", "train_flops"),
        ("train_seconds", "seconds"),
    ):
        if name in result:
            _same(name, last[column], "eval.csv", result[name])
    seconds = result["train_seconds"]
    if seconds:
        _same("steps_per_second", result["steps"] / seconds, "its steps and seconds",
              result["steps_per_second"])  # fmt: skip
    _check_rows(flat, cost, evaluations)
    _check_cost(flat, cost, result)
    digest = flat.get("data.digest")
    if digest not in (None, "auto"):
        _same("dataset_digest", digest, "config.toml", result.get("dataset_digest"))
    _check_fingerprint(flat, result)


def check_cells(cells: list[Row], result: Row) -> None:
    """Hold the cells of eval.csv against what result.json makes of them."""
    final = result["final"]
    for name, value in cells[-1].items():
        if name in final:
            _same(f"final {name}", value, "eval.csv", final[name])
    if "sampling_seconds" in cells[0]:
        seconds = sum(fields.number(row, "sampling_seconds", "eval.csv") for row in cells)
        images = len(cells) * fields.whole(cells[-1], "samples", "eval.csv")
        if seconds > 0:
            _same("samples_per_second", images / seconds, "eval.csv", result["samples_per_second"])


def _check_rows(flat: Row, cost: Row, evaluations: list[Row]) -> None:
    per_image = cost.get("train_flops_per_image")
    accurate = [row for row in evaluations if not math.isnan(row["label_accuracy"])]
    if accurate and len(accurate) != len(evaluations):
        raise DitbenchError("eval.csv: label_accuracy is missing in some of its rows")
    for row in evaluations:
        where = f"eval.csv at step {row['step']}"
        images = row["step"] * flat["train.batch_size"]
        _same("images", images, "steps times batch_size", row["images"], where)
        if per_image is not None:
            flops = _product(per_image, images)
            _same("train_flops", flops, "cost.json", row["train_flops"], where)
    for name, key in _SETTINGS.items():  # which do not change along a run
        if key in flat and flat[key] != "auto":
            _same(name, flat[key], "config.toml", evaluations[0][name], "eval.csv")
    for row, following in pairwise([{"seconds": 0.0}, *evaluations]):
        if following["seconds"] < row["seconds"]:
            raise DitbenchError(f"eval.csv: the seconds of step {following['step']} run backwards")


def _check_cost(flat: Row, cost: Row, result: Row) -> None:
    _same("gflops", 2 * cost["gmacs"], "its gmacs", cost["gflops"], "cost.json")
    if cost.get("train_flops_per_image") is not None:
        flops = FLOPS_PER_MAC * GIGA * cost["gmacs"]
        _same("train_flops_per_image", flops, "its gmacs", cost["train_flops_per_image"],
              "cost.json")  # fmt: skip
    _same("block", result["block"], "result.json", cost.get("block", result["block"]), "cost.json")
    names = ("hidden_size", "depth", "num_heads", "patch_size")
    if all(f"model.{name}" in flat for name in names):
        size = [fields.whole(flat, f"model.{name}", "config.toml") for name in names]
        _same("model", ModelSize(*size).name, "config.toml", cost["model"], "cost.json")


def _check_fingerprint(flat: Row, result: Row) -> None:
    """The configuration is that which the run was made with, to the last digit.

    One with keys that this version does not know was written by another; it is left to the other
    checks.
    """
    if not flat.keys() <= _known_keys():
        return
    # Of a thousand runs most have the configuration of another, seed and preset apart.
    # The type belongs to it: 1, 1.0 and true are equal, and not all are values of a key.
    identity = tuple(
        (key, type(value), value) for key, value in flat.items() if key not in ("seed", "preset")
    )
    try:
        fingerprint = _fingerprint(identity)
    except TypeError as error:  # a list has no hash, and is no value of any key
        raise DitbenchError("config.toml holds a list where none can be") from error
    except DitbenchError as error:
        raise DitbenchError(f"config.toml: {error.message}") from error
    told = result["fingerprint"]
    if fingerprint != told:
        raise DitbenchError(
            f"config.toml has fingerprint {fingerprint[:8]}, result.json {told[:8]}"
        )


@functools.lru_cache(maxsize=256)
def _fingerprint(identity: tuple[tuple[str, type, Any], ...]) -> str:
    """The fingerprint of a configuration, given as dotted keys with the type and the value."""
    table: Row = {}
    put(table, {key: value for key, _, value in identity})
    return validate(table).fingerprint


@functools.cache
def _known_keys() -> frozenset[str]:
    return frozenset(keys())


def _product(number: Any, count: int) -> float:
    sound = isinstance(number, int | float) and not isinstance(number, bool)
    try:
        return float(number) * count if sound else math.nan
    except OverflowError:
        return math.nan


def _same(name: str, value: Any, where: str, other: Any, place: str = "result.json") -> None:
    """Refuse two values that have to be equal; floats may differ in their last digits."""
    if type(value) is type(other) and value == other:  # almost always
        return
    numbers = (int, float)
    if isinstance(value, numbers) and isinstance(other, numbers):
        kinds = isinstance(value, bool) == isinstance(other, bool)
        try:
            equal = kinds and math.isclose(value, other, rel_tol=TOLERANCE, abs_tol=1e-12)
        except OverflowError:  # JSON has whole numbers of any length
            equal = value == other
    else:
        equal = value == other
    if not equal:
        raise DitbenchError(f"{name} is {show(value)} by {where}, {show(other)} in {place}")
