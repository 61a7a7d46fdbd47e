"""Which metrics a run has: in the features of each extractor, and against held-out images.

It imports torchmetrics, by the metrics, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ditbench.distances import OF_LATENTS, key_of, title_of
from ditbench.errors import DitbenchError
from ditbench.metrics import extractor_names, find_metrics
from ditbench.metrics.features.extractors import Extractor
from ditbench.metrics.metric import Metric

# The metrics that also compare with held-out images, in the main features.
HELD_OUT = ("fid", "kid")
HELD_OUT_SUFFIX = "_held_out"

Versions = Mapping[str, int]  # name of a metric -> its version, as env.json records them


class Choice(NamedTuple):
    """Metrics of a run, with the names and titles of their columns."""

    features: str  # the name of the extractor
    held_out: bool  # whether they compare with held-out images, not with those of training
    metrics: list[Metric]


def choose(
    features: type[Extractor],
    also: Sequence[type[Extractor]] = (),
    extra: Sequence[str] = (),
    *,
    held_out: bool = False,
    rows: bool = True,
    begun: Versions | None = None,
) -> list[Choice]:
    """The metrics of a run, in the order of their columns.

    `features` is the extractor of the metrics that have plain names; those in `also` have names
    like `fid_efficientnet_lite0`. `extra` are names of metrics beside the default ones. `held_out`
    is whether there are held-out images, `rows` whether there are single real images rather than
    published statistics. The metrics of an unfinished run are `begun`, whatever `extra` is. Raises
    a DitbenchError for names that are unknown or not available.
    """

    def choice(extractor: type[Extractor], suffix: str = "", remark: str = "") -> Choice:
        of_held_out = suffix == HELD_OUT_SUFFIX
        before = None if begun is None else _versions(suffix, begun)
        metrics = [
            _named(metric, extractor, suffix, remark)
            for metric in find_metrics(extra, before)
            if (extractor.classifies or not metric.needs_logits)
            and (extractor.num_classes is not None or not metric.needs_classes)
            and (rows or not metric.needs_rows)
            and (metric.name in HELD_OUT or not of_held_out)
        ]
        return Choice(extractor.name, of_held_out, metrics)

    choices = [choice(features)]
    if held_out:
        choices.append(choice(features, HELD_OUT_SUFFIX, " (held-out)"))
    choices += [choice(other, suffix_of(other.name), f" ({other.name})") for other in also]
    found = {metric.name for each in choices for metric in each.metrics}
    if missing := (begun or {}).keys() - found:
        raise DitbenchError(
            f"the run began with metrics that are not available now: {', '.join(sorted(missing))}",
            "restore the data set's held-out images, or move the run directory away to begin again",
        )
    return choices


def _named(metric: Metric, extractor: type[Extractor], suffix: str, remark: str) -> Metric:
    """A metric under the name and the title that it has in some features."""
    name, title = metric.name, metric.title
    if extractor.of_latents and name in OF_LATENTS:
        name, title = OF_LATENTS[name], title_of(name, extractor.name)
    return replace(metric, name=name + suffix, title=title + remark)


def suffix_of(features: str) -> str:
    """What the names of metrics in further features end in: `_efficientnet_lite0`."""
    return "_" + features.replace("-", "_")


def also_of(begun: Versions) -> list[str]:
    """The names of the further features of a run that has these metrics."""
    return [name for name in extractor_names() if _versions(suffix_of(name), begun)]


def _versions(suffix: str, begun: Versions) -> dict[str, int]:
    """The versions of the metrics whose names have a suffix ("" for none), by names without it."""
    others = (HELD_OUT_SUFFIX, *map(suffix_of, extractor_names()))
    return {
        key_of(name.removesuffix(suffix)): version
        for name, version in begun.items()
        if (name.endswith(suffix) if suffix else not name.endswith(others))
    }
