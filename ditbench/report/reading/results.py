"""Run directories to one tidy DataFrame. Damaged runs are skipped and named."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.config import read_toml
from ditbench.config.schema import flatten
from ditbench.errors import DitbenchError, unknown_name
from ditbench.files import TEMPORARY, read_json
from ditbench.models.registry import block_names, group_names
from ditbench.report.facts import FACTS
from ditbench.report.reading.evals import scored_again, unknown_evaluation
from ditbench.report.reading.metrics import FIRST_METRICS, MetricFacts
from ditbench.report.reading.run import read_run
from ditbench.report.reading.skipped import Kind, Skipped, SkippedRuns, skip
from ditbench.report.reading.values import Row
from ditbench.rundir import OWN_DIRECTORIES, TUNING, RunDirectory

if TYPE_CHECKING:
    import pandas as pd

    Run = list[Row]

# The project's own runs in `results` of a clone, and those of them that later ones replace.
REFERENCE, PILOT = "reference", "pilot"
SHOW_SCORES = "the `ditbench eval --init` that made them shows them again"
_HINT = "`ditbench run --block adaln-zero` makes one"
_RESUME = "`ditbench run` with the options of a run resumes it; `ditbench list` shows them all"


def find_runs(root: Path) -> Iterator[RunDirectory]:
    """Every run directory at or below `root` (those that hold a config.toml), in path order.

    The project's own runs in `results/reference` do not mix with those of a user beside them: they
    are found below `results` only if there are no others, and those in `results/reference/pilot`
    only if there are no other reference runs. Runs of learning-rate sweeps do not mix with any
    other runs: they are found only where `root` holds nothing but sweeps.
    """
    if (root / "config.toml").is_file():
        yield RunDirectory(root)
        return
    below = [path.relative_to(root) for path in _runs_below(root)]
    # The runs of a sweep are in tune/<preset>/<block>/.
    found = sorted(path for path in below if path.parts[-4:-3] != (TUNING,))
    found = [path for path in found if path.parts[:1] != (REFERENCE,)] or found
    pilot = (REFERENCE, PILOT)
    found = [p for p in found if pilot not in pairwise((root / p).absolute().parts)] or found
    yield from (RunDirectory(root / path) for path in found)


def _runs_below(root: Path) -> Iterator[Path]:
    """Directories with a config.toml, without a search where a run keeps its own files."""
    for place, directories, files in os.walk(root):
        if "config.toml" in files:
            directories[:] = [name for name in directories if name not in OWN_DIRECTORIES]
            yield Path(place)
        # A run that `ditbench rm` was removing when it was killed.
        directories[:] = [name for name in directories if not name.startswith(TEMPORARY)]


def load_results(
    path: str | Path | Iterable[str | Path],
    blocks: str | Iterable[str] | None = None,
    *,
    evaluation: str | None = None,
) -> pd.DataFrame:
    """Read every complete run at or below a directory, except for learning-rate sweeps below it.

    Args:
        path: a results directory, one run directory, or several of them.
        blocks: names of blocks, or of groups of blocks such as `paper`; a text may hold several,
            separated by commas. None reads all.
        evaluation: the name of a later evaluation (`ditbench eval`), such as
            `cfg1.5-ddim250-50k-inception`: each run then has one row, with the scores of that one.

    Returns:
        One row per evaluation, ordered by run path, then step. The columns are the `FACTS` of
        `ditbench.report.facts` and one per metric; docs/api.md describes them.
        `attrs["skipped"]` is a list of (path, reason) of the runs that are incomplete, damaged, or
        older duplicates (same block, seed and fingerprint).

    Raises:
        DitbenchError: no such directory, no complete and readable run in it, or none of a block.
    """
    import pandas as pd

    roots = [Path(each) for each in ([path] if isinstance(path, str | Path) else path)]
    found = list(runs_in(roots, _HINT))
    skipped = SkippedRuns()
    runs = _newest(_read(found, evaluation, skipped), skipped)
    if not runs:
        raise _nothing_read(roots, found, evaluation, skipped)
    _name_versions(runs)
    if blocks is not None:
        runs = _of_blocks(runs, blocks.split(",") if isinstance(blocks, str) else blocks)
    rows = [row for run in runs for row in run]
    dtypes = {fact.name: fact.dtype for fact in FACTS}
    dtypes |= {metric.name: "float64" for metric in metrics_of(run[0]["metrics"] for run in runs)}
    frame = pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)
    frame.attrs["skipped"] = skipped
    return frame


def _read(found: list[RunDirectory], evaluation: str | None, skipped: list[Skipped]) -> list[Run]:
    """The rows of each run that can be read; the others are added to `skipped`."""
    runs: list[Run] = []
    for run in found:
        try:
            rows = read_run(run)
            runs.append(rows if evaluation is None else [scored_again(run, evaluation, rows[-1])])
        except DitbenchError as error:
            skipped.append(skip(run.path, error))
    return runs


def _nothing_read(
    roots: list[Path], found: list[RunDirectory], evaluation: str | None, skipped: list[Skipped]
) -> DitbenchError:
    complete = [run for run in found if run.is_complete()]
    if evaluation is not None and not any(evaluation in run.evals() for run in complete):
        return unknown_evaluation(evaluation, complete)
    why = f" ({len(skipped)} skipped; the first, {': '.join(skipped[0])})" if skipped else ""
    places = ", ".join(map(str, roots)) or "no directory"
    hint = _HINT if len(complete) == len(found) else _RESUME
    return DitbenchError(f"no complete run in {places}{why}", hint)


def runs_in(roots: Iterable[Path], hint: str) -> Iterator[RunDirectory]:
    """The runs in several directories, each place once, although one may lie in another."""
    seen: set[Path] = set()
    for root in roots:
        check_place(root, hint)
        for run in find_runs(root):
            place = run.path.resolve()
            if place not in seen:
                seen.add(place)
                yield run


def check_place(root: Path, hint: str) -> None:
    """Raise a DitbenchError unless there is a directory."""
    if not root.is_dir():
        what = "is not a directory" if root.exists() else "does not exist"
        raise DitbenchError(f"{root} {what}", hint)


def metrics_of(texts: Iterable[str]) -> list[MetricFacts]:
    """The metrics in some cells of the column `metrics`: those of the first schema come first."""
    described = (each for text in dict.fromkeys(texts) for each in json.loads(text))
    found = {each["name"]: MetricFacts(**each) for each in described}
    first = [metric.name for metric in FIRST_METRICS if metric.name in found]
    return [found[name] for name in dict.fromkeys([*first, *found])]


def versions_differ(texts: Iterable[str]) -> list[MetricFacts]:
    """The metrics that some cells of the column `metrics` have in several versions."""
    texts = list(dict.fromkeys(texts))
    versions = {(each.name, each.version) for text in texts for each in metrics_of([text])}
    number = Counter(name for name, _ in versions)
    return [metric for metric in metrics_of(texts) if number[metric.name] > 1]


def _of_blocks(runs: list[Run], names: Iterable[str]) -> list[Run]:
    """The runs of some blocks, or of the members of groups that were run."""
    present = list(dict.fromkeys(run[0]["block"] for run in runs))
    chosen: set[str] = set()
    for name in map(str.strip, names):
        is_group = name in group_names()
        members = block_names(name) if is_group else [name]
        if not set(members) & set(present):
            if is_group:
                hint = f"there are {', '.join(present)}"
                raise DitbenchError(f"no block of the group '{name}' is among these runs", hint)
            raise unknown_name("block among these runs", name, [*present, *group_names()])
        chosen.update(members)
    return [run for run in runs if run[0]["block"] in chosen]


def _name_versions(runs: list[Run]) -> None:
    """Add the source's SHA-256 to the names of blocks that have several: `MyBlock@3f2a91c0`."""
    sources = {(run[0]["block"], run[0]["source_sha256"]) for run in runs}
    several = Counter(block for block, _ in sources)
    for row in (row for run in runs for row in run):
        if several[row["block"]] > 1 and row["source_sha256"]:
            row["block"] = f"{row['block']}@{row['source_sha256'][:8]}"


def _newest(runs: list[Run], skipped: list[Skipped]) -> list[Run]:
    """The newest run of each block, seed and fingerprint; the others are added to `skipped`."""
    kept: dict[tuple[str, int, str], Run] = {}
    for run in sorted(runs, key=lambda run: run[0]["written"]):
        key = (run[0]["block"], run[0]["seed"], run[0]["fingerprint"])
        if older := kept.get(key):
            newer = Kind.DUPLICATE.because(f"{run[0]['path']} is newer")
            skipped.append(skip(older[0]["path"], newer))
        kept[key] = run
    return sorted(kept.values(), key=lambda run: run[0]["path"])


def diff_runs(a: str | Path, b: str | Path) -> list[dict[str, Any]]:
    """The facts in which the runs in two directories differ.

    Rows of `source` (`config` or `environment`), `key` (dotted), and the values `a` and `b`; None
    if the run does not have the key. A DitbenchError for a directory that does not hold one run.
    """
    first, second = _facts(one_run(a)), _facts(one_run(b))
    rows = []
    for key in sorted(first.keys() | second.keys()):
        if first.get(key) != second.get(key):
            source, name = key.split(".", 1)
            rows.append({"source": source, "key": name, "a": first.get(key), "b": second.get(key)})
    return rows


def one_run(place: str | Path) -> RunDirectory:
    """The run at or below a directory. A DitbenchError if that holds none or several."""
    runs = list(find_runs(Path(place)))
    if len(runs) != 1:
        what = "is not a run directory" if Path(place).exists() else "does not exist"
        hint = "name a run directory: `ditbench list` shows them"
        if runs:
            what = f"holds {len(runs)} runs, not one"
            hint = f"name a run directory, such as {runs[0].path}"
        if RunDirectory(Path(place)).is_of_weights():
            what, hint = "holds scores of weights, not a run", SHOW_SCORES
        raise DitbenchError(f"{place} {what}", hint)
    return runs[0]


def _facts(run: RunDirectory) -> Row:
    config, environment = read_toml(run.config), read_json(run.environment)
    return flatten({"config": config, "environment": environment})
