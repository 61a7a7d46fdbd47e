"""Runs that were scored again: the files in `evals/`, which `ditbench eval` writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ditbench.amounts import counted
from ditbench.errors import DitbenchError, one_line
from ditbench.report.reading.metrics import MetricFacts
from ditbench.report.reading.run import check_file, read_metrics, write_recipe
from ditbench.report.reading.scores import alike_draws, mean_draw
from ditbench.report.reading.values import Row, show
from ditbench.rundir import RunDirectory

# What a file repeats of the run that it belongs to.
_OF_RUN = ("fingerprint", "seed", "steps", "dataset_digest")


def scored_again(run: RunDirectory, name: str, final: Row) -> Row:
    """The `final` row of a run with the scores of a later evaluation in place of its own.

    They are means over the draws. A DitbenchError if it has no such evaluation, or the file is
    damaged or of another run.
    """
    if name not in run.evals():
        raise DitbenchError(f"it has no evaluation {one_line(name)}")
    path = run.eval(name)
    check_file(path)
    content = run.read_eval(name)
    for key in _OF_RUN:
        if content.get(key) != final[key]:
            found, other = show(content.get(key)), show(final[key])
            raise DitbenchError(f"{path.name}: {key} is {found}, that of the run {other}")
    metrics, draws = read_draws(content, path)
    own = {each["name"] for each in json.loads(final["metrics"])}
    recipe = json.loads(final["recipe"])
    for key in ("eval.points", "fid.version"):  # of the curve; of the run's own FID
        recipe.pop(key, None)
    scored = mean_draw(draws, metrics)
    return {
        **{key: value for key, value in final.items() if key not in own},
        **scored,
        "metrics": json.dumps([metric.model_dump() for metric in metrics]),
        "features_digest": str(content.get("features_digest", "")),
        "recipe": write_recipe(recipe, metrics),
        "curve_sampling_steps": scored["sampling_steps"],
        "evaluation": name,
        "draws": len(draws),
        "final": True,
        "curve": False,
    }


def read_draws(content: Row, path: Path) -> tuple[Sequence[MetricFacts], list[Row]]:
    """The metrics of a later evaluation, and its draws: the columns of one evaluation each.

    A DitbenchError if there are none, or a value is missing, of a wrong type or not alike in all.
    """
    metrics = read_metrics(content, path.name)
    if not content["draws"]:
        raise DitbenchError(f"{path.name} holds no draw")
    return metrics, alike_draws(content["draws"], metrics, path)


def unknown_evaluation(name: str, runs: Iterable[RunDirectory]) -> DitbenchError:
    """The error for an evaluation that no run has; its hint lists those that there are."""
    counts = sorted(Counter(each for run in runs for each in run.evals()).items())
    found = ", ".join(f"{each} ({counted(count, 'run')})" for each, count in counts)
    hint = f"there are {found}" if found else "`ditbench eval DIR --cfg-scale 1,1.5` makes some"
    return DitbenchError(f"no complete run has an evaluation '{one_line(name)}'", hint)
