"""Headings and remarks of a report. Each is made here, once, for the command line and Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import category

from ditbench.amounts import plural
from ditbench.distances import LATENTS, title_of
from ditbench.few import OWN_CLASSIFIERS
from ditbench.report.facts import FACTS, TASK
from ditbench.rundir import metric_suffix

# Data sets whose name alone identifies the images that papers use.
PUBLISHED = ("cifar10", "fashion-mnist")
# The features of published FIDs.
COMMON_FEATURES = "inception"


def heading(group: Mapping[str, Any]) -> str:
    """A group in one line. What its runs do not share is left out."""
    group = {**group, "dataset": images_of(group)} if images_of(group) else group
    parts = {False: [], True: [fid_title(group)]}  # how it was trained, how it was scored
    for fact in FACTS:
        if fact.heading and fact.name in group:
            parts[fact.scored].append(fact.heading.format(group[fact.name]))
    if group.get("evaluation"):
        parts[True].append(f"evaluation {group['evaluation']}")
    return "; ".join(map(", ".join, parts.values()))


def fid_title(group: Mapping[str, Any]) -> str:
    """`FID-2K`, or `FID` if the runs differ in their number of samples."""
    title = title_of("fid", group.get("features"))
    return f"{title}-{suffix(group['samples'])}" if "samples" in group else title


def metric_title(title: str, features: str | None, samples: int | None = None) -> str:
    """The title of a metric with the number of samples and the main features that it needs.

    `FID-2K`, `FID-2K (efficientnet-lite0)`, `KID-2K (held-out)`. FID and KID in the features of
    Inception and of the data set's own classifier do not name them.
    """
    name, bracket, remark = title.partition(" (")
    number = "" if samples is None else f"-{suffix(samples)}"
    if title in ("FID", "KID") and features not in (None, COMMON_FEATURES, *OWN_CLASSIFIERS):
        bracket, remark = " (", f"{features})"
    return f"{name}{number}{bracket}{remark}"


def suffix(samples: int) -> str:
    """The number of samples in a metric's title: 2000 -> `2K`, 1797 -> `1797`."""
    return metric_suffix(samples).upper()


def name_and_value(key: str, value: Any) -> str:
    """`batch size 128`, `dataset digest 126fbed1`."""
    if key == "budget":
        return str(value)
    name = key if "." in key else key.replace("_", " ")  # a configuration key stays as it is set
    return f"{name} {brief(key, value)}"


def brief(key: str, value: Any) -> str:
    """A value as people can read it."""
    if value is None:
        return "unset"
    if key == "fingerprint" or key.endswith(("digest", "sha256")):
        return str(value)[:8] or "unknown"
    return str(value)


def apart_in_words(group: Mapping[str, Any], apart: Mapping[str, Any]) -> str:
    """What distinguishes a group from others: `digits, 8x8x1, lr 0.001`."""
    images = {"dataset": images_of(group)} if "dataset" in apart else {}
    return ", ".join(
        str(value) if key in TASK else name_and_value(key, value)
        for key, value in {**apart, **images}.items()
    )


def differences_in_words(differences: Mapping[str, Sequence[Any]]) -> str:
    """`budget (1,200 steps, 2,400 steps); train_precision (bf16, fp32)`."""
    return "; ".join(
        f"{key} ({', '.join(brief(key, value) for value in values)})"
        for key, values in differences.items()
    )


def describe(group: Mapping[str, Any], apart: Mapping[str, Any]) -> list[str]:
    """A group in a few words, for a panel: its task and what distinguishes it from others."""
    shown = (*TASK, "evaluation", "features", "samples")  # the last two on the y axis
    parts = [f"{images_of(group)} {group['input']}", group["model"], group["objective"]]
    if group.get("evaluation"):
        parts.append(f"evaluation {group['evaluation']}")
    parts += [name_and_value(key, value) for key, value in apart.items() if key not in shown]
    return list(map(drawable, parts))


def drawable(name: str) -> str:
    """A name whose control characters are escaped: they could reorder what stands beside it.

    Other characters that cannot be printed may have a glyph in some font.
    """
    controls = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(ascii(c)[1:-1] if category(c) in controls else c for c in name)


def images_of(group: Mapping[str, Any]) -> str | None:
    """The name of the images of a group; None when its runs use several sets of images."""
    return group.get("source", group.get("dataset"))


def note(group: Mapping[str, Any]) -> str:
    """A warning against comparing the FIDs of a group with published ones; may be empty."""
    features = group.get("features")
    if features == LATENTS:
        return (
            "Samples are compared as latents, not as images: their distances are not FIDs. "
            "`ditbench eval --vae PATH` decodes them."
        )
    if features == COMMON_FEATURES and group.get("dataset") in PUBLISHED:
        return ""
    of = "several features" if features is None else f"{features} features"
    return (
        f"FID and KID are in {of}, on images of {images_of(group) or 'several data sets'}: "
        "comparable between these runs, but not with published FIDs."
    )


def sweep_title(metric: str, budget: object, seeds: Sequence[int]) -> str:
    """What all rows of the table of a sweep share."""
    return f"Mean final {metric} by learning rate: {budget} per run, {seeds_in_words(seeds)}"


def sweep_remark(rates: Sequence[float], best: float | None, missing: int, runs: int) -> str | None:
    """What a reader must know about the chosen learning rate, or None."""
    if missing:
        return f"not finished: {missing} of {runs} runs missing"
    if best is None:
        return "diverged at every rate: try lower ones"
    if len(rates) == 1:
        return "only one rate: nothing was chosen"
    if best in (rates[0], rates[-1]):
        side = "below" if best == rates[0] else "above"
        return f"best at the edge: widen the grid {side} {best:g}"
    return None


def seeds_in_words(seeds: Sequence[int]) -> str:
    """`seed 3`, or `seeds 0, 1`."""
    return f"{plural(len(seeds), 'seed')} {', '.join(map(str, sorted(seeds)))}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
