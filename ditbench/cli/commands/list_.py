"""`ditbench list`: the state of each run in a directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from ditbench.amounts import counted, decimals, file_size
from ditbench.cli.options.common import Table, argument
from ditbench.cli.options.completion import complete_places
from ditbench.cli.output.printing import echo, note, print_sentence, print_table
from ditbench.distances import title_of
from ditbench.errors import DitbenchError
from ditbench.report.tables.columns import Column
from ditbench.rundir import WEIGHTS, RunDirectory

COLUMNS = (
    Column("block", "Block"),
    Column("seed", "Seed", "{}".format),
    Column("state", "State"),
    Column("step", "Step", decimals(0)),
    Column("steps", "of", decimals(0)),
    Column("done", "Done", "{:.0%}".format),
    Column("fid", "FID", decimals(2)),
    Column("bytes", "Size", file_size),
    Column("path", "Run directory"),
)
_HINT = "`ditbench run` makes results/; other directories are named: ditbench list DIR"
# For a terminal of 80 columns: the directory that the runs share is in the heading.
NARROW = (Column("run", "Run"), *COLUMNS[2:-1])


def list_(
    directories: Annotated[list[Path] | None, argument("DIR",
        "Directories that contain runs, at any depth. Default: results.", complete_places)] = None,
    *, table: Table,
) -> None:  # fmt: skip
    """List runs: done, running, queued (a job of Slurm waits), failed or stopped.

    The step is the last one in the log, the FID that of the last evaluation, the size that of all
    files of a run. Scores of weights (`ditbench eval --init`) are named on stderr.
    """
    from ditbench.launch.states import states
    from ditbench.report.reading.one_run import summary
    from ditbench.report.reading.results import SHOW_SCORES, check_place

    places = directories or [Path("results")]
    for place in places:
        check_place(place, _HINT)
    runs = list({run.path.resolve(): run for place in places for run in _runs(place)}.values())
    rows = []
    for run, state in zip(runs, states(runs), strict=True):
        try:
            rows.append({**summary(run), "state": state})
        except DitbenchError as error:
            note("skipped", f"{run.path}: {error.message}")
    if table.chosen != "rich":
        table.write(rows, COLUMNS)
    elif rows:
        _print(rows)
    elif not runs:
        echo(f"no run in {', '.join(map(str, places))}", err=True)
    for path in sorted(path for place in places for path in place.glob(f"{WEIGHTS}/*")):
        if RunDirectory(path).is_of_weights():
            echo(f"{path}: scores of weights; {SHOW_SCORES}", err=True)


def _runs(root: Path) -> Iterator[RunDirectory]:
    """The runs in a directory, also those that only have a job, in path order."""
    from ditbench.launch.states import MARKER
    from ditbench.report.reading.results import find_runs

    paths = {run.path for run in find_runs(root)} | {file.parent for file in root.rglob(MARKER)}
    yield from map(RunDirectory, sorted(paths))


def _print(rows: Sequence[dict[str, Any]]) -> None:
    """One table for each directory of blocks."""

    def place(row: dict[str, Any]) -> Path:
        return Path(row["path"]).parent.parent

    groups = {above: list(each) for above, each in groupby(sorted(rows, key=place), key=place)}
    if len(groups) > 1:
        print_sentence(f"{len(groups)} directories: {_total(rows)}")
    for above, inside in groups.items():
        if len(groups) > 1:
            echo()
        shown = [{**row, "run": str(Path(row["path"]).relative_to(above))} for row in inside]
        # Of latents, it is another distance.
        titles = {title_of("fid", row["features"]) for row in inside if row["features"]} or {"FID"}
        score = Column("fid", " or ".join(sorted(titles)), decimals(2))
        columns = [score if each.name == "fid" else each for each in NARROW]
        print_table(shown, columns, f"{above}: {_total(inside)}")


def _total(rows: Sequence[dict[str, Any]]) -> str:
    """`4 runs, 9.6 MB`, or `4 runs (3 done, 1 failed), 9.6 MB`."""
    states = Counter(row["state"] for row in rows)
    numbers = ", ".join(f"{number} {state}" for state, number in states.most_common())
    named = "" if [*states] == ["done"] else f" ({numbers})"
    return f"{counted(len(rows), 'run')}{named}, {file_size(sum(row['bytes'] for row in rows))}"
