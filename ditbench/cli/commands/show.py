"""`ditbench show` and `ditbench diff`: one run, and what differs between two."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from ditbench.amounts import file_size, significant, writer
from ditbench.cli.options.common import AsJson, argument
from ditbench.cli.options.completion import complete_runs
from ditbench.cli.output.printing import echo, note, print_json, print_table, print_texts
from ditbench.distances import title_of
from ditbench.errors import DitbenchError
from ditbench.report.facts import BY_NAME
from ditbench.report.tables.columns import DIFF_COLUMNS, Column, metric_column
from ditbench.report.words import suffix
from ditbench.rundir import RunDirectory

Row = dict[str, Any]

# What `ditbench diff` prints of two scores.
_SCORES = (
    Column("name", "Metric"),
    Column("a", "A", "{}".format),
    Column("b", "B", "{}".format),
    Column("ratio", "B / A", significant(3)),
)
# What a run cost, below its metrics.
_COSTS = ("parameters", "gmacs", "steps_per_second", "peak_memory_bytes")
# What metrics must agree in to be comparable at all.
_OF_METRICS = ("dataset_digest", "features", "features_digest")

_RUN = partial(
    argument, help="A run directory, or a directory that holds one run.", complete=complete_runs
)


def show(run: Annotated[Path, _RUN("RUN")], as_json: AsJson = False) -> None:
    """Show one run: its score, the settings that differ from its preset, environment and files."""
    from ditbench.launch.states import states
    from ditbench.report.reading import one_run
    from ditbench.report.reading.results import one_run as find

    directory = find(run)
    (state,) = states([directory])
    score, problem = _score(directory)
    summary = one_run.summary(directory)
    preset, settings = one_run.settings(directory)
    environment, files = one_run.environment(directory), one_run.files(directory)
    if as_json:
        print_json({
            **summary, "state": state, "problem": problem or None, "metrics": _values(score),
            "preset": preset or None, "settings": settings,
            "environment": {row["key"]: row["value"] for row in environment}, "files": files,
        })  # fmt: skip
        return
    echo(_sentence(score))
    done = "" if summary["done"] is None else f", {summary['done']:.0%} of its budget"
    echo(f"{directory.path}: {state}{done}, {file_size(summary['bytes'])}")
    if problem:
        note("warning", f"this run is in no table: {problem}")
    echo()
    if written := _written(score):
        print_table(written, (Column("name", "Metric"), Column("text", "Value", "{}".format)))
        echo()
    title = f"Settings that differ from the preset {preset}" if preset else "Settings"
    columns = [Column("key", "Key"), Column("value", "Value")]
    print_texts(settings, [*columns, *[Column("preset", "Preset")] * bool(preset)], title)
    print_texts(_by_section(environment), columns, "Environment")
    columns = [Column("name", "Name"), Column("number", "Files", "{}".format)]
    print_table(files, [*columns, Column("bytes", "Size", file_size)], "Files")


def diff(
    a: Annotated[Path, _RUN("A")], b: Annotated[Path, _RUN("B")], as_json: AsJson = False
) -> None:
    """Show the scores of two runs, and what differs in settings, data, metrics and environment."""
    from ditbench.report.reading.one_run import subject
    from ditbench.report.reading.results import diff_runs
    from ditbench.report.reading.results import one_run as find

    runs = [find(a), find(b)]
    scores = [_score(run)[0] for run in runs]
    differences = [row | {"source": subject(row)} for row in diff_runs(*(r.path for r in runs))]
    if as_json:
        paths = dict(zip("ab", (str(run.path) for run in runs), strict=True))
        values = dict(zip("ab", map(_values, scores), strict=True))
        print_json({"paths": paths, "scores": values, "differences": differences})
        return
    for name, run, score in zip("AB", runs, scores, strict=True):
        echo(f"{name}: {run.path}")
        echo(f"   {_sentence(score)}")
    echo()
    _print_scores(scores)
    echo()
    if differences:
        print_texts(differences, DIFF_COLUMNS, "What differs")
    else:
        echo("no difference in settings, data, metrics or environment")


def _print_scores(scores: list[Row]) -> None:
    """The metrics and costs of two runs side by side; with ratios if comparable."""
    alike = all(len({score[key] for score in scores if score.get(key)}) < 2 for key in _OF_METRICS)
    rows = _side_by_side(*map(_written, scores))
    if rows:
        print_table(rows, _SCORES if alike else _SCORES[:-1])
    if not alike:
        echo("Metrics of other images or features have another scale: they are not comparable.")


def _by_section(rows: list[Row]) -> list[Row]:
    """Rows of one section, such as `metrics.fid` and `metrics.kid`, as one each."""
    from ditbench.report.reading.one_run import in_words

    sections: dict[str, list[str]] = {}
    for row in rows:
        section, _, name = row["key"].partition(".")
        sections.setdefault(section, []).append(f"{name} {in_words(row['value'])}".strip())
    # A long list of classes may be cut.
    return [
        {"key": name, "value": "; ".join(sorted(values, key=len))}
        for name, values in sections.items()
    ]


def _score(run: RunDirectory) -> tuple[Row, str]:
    """The score of a run, and why it is in no table: it diverged, or is damaged."""
    from ditbench.report.reading.one_run import last_score, summary

    try:
        return last_score(run), run.failed_because() or ""
    except DitbenchError as error:
        return summary(run), error.message


def _sentence(score: Mapping[str, Any]) -> str:
    """`adaln-zero, seed 0: FID-1K 7.26 (digits features) after 1,200 steps`."""
    name = f"{score['block']}, seed {score['seed']}"
    if score["fid"] is None:
        return f"{name}: no evaluation yet"
    samples, features = score.get("samples"), score.get("features")
    title = title_of("fid", features) + (f"-{suffix(samples)}" if samples else "")
    of = f" ({features} features)" if features else ""
    after = "" if score["step"] is None else f" after {score['step']:,} steps"
    return f"{name}: {title} {score['fid']:.2f}{of}{after}"


def _metrics(score: Mapping[str, Any]) -> list[Any]:
    from ditbench.report.reading.metrics import FIRST_METRICS
    from ditbench.report.reading.results import metrics_of

    metrics = metrics_of([score["metrics"]]) if "metrics" in score else FIRST_METRICS[:1]
    return [each for each in metrics if _is_number(score[each.name])]


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _values(score: Mapping[str, Any]) -> Row:
    """The metrics and costs of a score as numbers."""
    names = [*(metric.name for metric in _metrics(score)), *(n for n in _COSTS if n in score)]
    return {name: score[name] for name in names}


def _written(score: Mapping[str, Any]) -> list[Row]:
    """The metrics and costs of a score: rows of `name`, `value`, `text`, and a metric's version."""
    rows = [
        {"name": metric_column(each, score.get("samples")).header, "value": score[each.name],
         "text": writer(each.format)(score[each.name]), "version": each.version}
        for each in _metrics(score)
    ]  # fmt: skip
    for name in _COSTS:
        value, fact = score.get(name), BY_NAME[name]
        if _is_number(value):  # memory may be unknown
            rows.append({"name": fact.title, "value": value, "text": fact.text(value)})
    return rows


def _side_by_side(a: list[Row], b: list[Row]) -> list[Row]:
    """Two lists of `_written` as one, with the ratio of the values."""
    first, second = ({row["name"]: row for row in each} for each in (a, b))
    rows = []
    for name in dict.fromkeys([*first, *second]):
        one, two = first.get(name, {}), second.get(name, {})
        same = one and two and one.get("version") == two.get("version")
        ratio = two["value"] / one["value"] if same and one["value"] else None
        rows.append({"name": name, "a": one.get("text"), "b": two.get("text"), "ratio": ratio})
    return rows
