"""The run directory: the one bridge between measuring and telling. Torch-free.

Only this file knows the names and formats inside it:

    results/<preset>/<block>/seed<k>-<fingerprint8>/
        config.toml   cost.json   env.json   train.csv   eval.csv   samples/   checkpoints/
        result.json   written last: a run without it is not complete
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ditbench.errors import EXIT_FAILED, DitbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# Raised when a reader of an older version would misread the files.
SCHEMA = 1

# Where the project's own runs lie below a clone's results.
REFERENCE = "reference"

TRAIN_COLUMNS = ("step", "images", "seconds", "loss", "lr", "grad_norm")


def metric_suffix(samples: int) -> str:
    """How a metric's name says its number of samples: 2000 -> `2k`, 1797 -> `1797`."""
    return f"{samples // 1000}k" if samples % 1000 == 0 else str(samples)


class RunDirectory:
    """One run's files.

    Args:
        path: the directory; nothing is created until something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, out: Path, preset: str, block: str, seed: int, fingerprint: str) -> RunDirectory:
        """The directory of one configuration and seed below `out`."""
        return cls(out / preset / block / f"seed{seed}-{fingerprint[:8]}")

    @property
    def config(self) -> Path:
        """Everything that determines the result, TOML."""
        return self.path / "config.toml"

    @property
    def environment(self) -> Path:
        """Versions, device, commit, JSON."""
        return self.path / "env.json"

    @property
    def cost(self) -> Path:
        """Parameters, MACs, training cost, JSON."""
        return self.path / "cost.json"

    @property
    def train(self) -> Path:
        """The training log, CSV with `TRAIN_COLUMNS`."""
        return self.path / "train.csv"

    @property
    def evaluations(self) -> Path:
        """One row an evaluation, CSV."""
        return self.path / "eval.csv"

    @property
    def result(self) -> Path:
        """The summary that is written last, JSON."""
        return self.path / "result.json"

    @property
    def checkpoint(self) -> Path:
        """The latest checkpoint, safetensors."""
        return self.path / "checkpoints" / "latest.safetensors"

    def samples(self, step: int) -> Path:
        """The sample grid of one evaluation, PNG."""
        return self.path / "samples" / f"step-{step:06d}.png"

    def is_complete(self) -> bool:
        """Whether the run has ended and left its result."""
        return self.result.is_file()

    def last_samples(self) -> Path | None:
        """The newest sample grid, or None."""
        return max(self.path.glob("samples/step-*.png"), default=None)

    def start(
        self, config_toml: str, environment: Mapping[str, Any], cost: Mapping[str, Any]
    ) -> None:
        """Create the directory, or empty an incomplete one, and write what is known up front."""
        for stale in (self.train, self.evaluations, *self.path.glob("samples/step-*.png")):
            try:
                stale.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(stale, error) from error
        write_text(self.config, config_toml)
        write_json(self.environment, environment)
        write_json(self.cost, cost)

    def append_train(self, row: Mapping[str, Any]) -> None:
        """Add a row to the training log."""
        append_row(self.train, row, TRAIN_COLUMNS)

    def append_evaluation(self, row: Mapping[str, Any]) -> None:
        """Add a row to the table of evaluations; the first row's keys are its columns."""
        append_row(self.evaluations, row, tuple(row))

    def read_evaluations(self) -> list[dict[str, Any]]:
        """The rows of eval.csv, numbers as numbers."""
        return read_rows(self.evaluations)

    def rewind(self, step: int) -> None:
        """Drop the rows of later steps than the checkpoint that training goes on from."""
        for path in (self.train, self.evaluations):
            rows = read_rows(path)
            try:
                kept = [row for row in rows if row["step"] <= step]
            except (KeyError, TypeError) as error:
                raise _damaged(path, "it has no steps") from error
            if rows:
                # At once, because a crash between two rows would lose the others.
                write_text(
                    path, "".join(map(_csv_line, [rows[0], *(row.values() for row in kept)]))
                )

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write `result.json`, which makes the run complete."""
        write_json(self.result, {"schema": SCHEMA, **result})

    def read_result(self) -> dict[str, Any]:
        """`result.json`.

        Raises:
            DitbenchError: missing, not a JSON object, or of a schema this version cannot read.
        """
        result = read_json(self.result)
        if result.get("schema") != SCHEMA:
            raise DitbenchError(
                f"{self.result} has schema {result.get('schema')!r}, this version reads {SCHEMA}",
                "use the ditbench that wrote it, or run it again",
            )
        return result


def find_runs(root: Path) -> Iterator[RunDirectory]:
    """Every run directory at or below `root` (those that hold a config.toml), in path order.

    In a clone, `results/reference` holds the project's own runs: they do not mix with those of a
    user beside them, and are found below `results` only while there are no others.
    """
    if (root / "config.toml").is_file():
        yield RunDirectory(root)
        return
    paths = sorted(path.parent for path in root.glob("**/config.toml"))
    own = [path for path in paths if path.relative_to(root).parts[0] != REFERENCE]
    yield from map(RunDirectory, own or paths)


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all: temporary file, fsync, rename.

    Raises:
        DitbenchError: exit code 1, when the place cannot be written or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tmp-", delete=False) as file:
            temporary = Path(file.name)
            write(file)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> DitbenchError:
    """The error for a place that takes no writing."""
    return DitbenchError(
        f"cannot write {path}: {error.strerror or error}",
        "choose a place that is writable and has room",
        EXIT_FAILED,
    )


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically; a number that is not finite becomes null."""
    write_text(path, json.dumps(_finite(value), indent=2) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a DitbenchError names the file and what is wrong with it."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DitbenchError(
            f"cannot read {path}: {error.strerror}", "is the run complete?"
        ) from error
    except ValueError as error:
        raise DitbenchError(f"{path} is not JSON: {error}", "run it again") from error
    if not isinstance(value, dict):
        raise DitbenchError(f"{path} does not hold a JSON object", "run it again")
    return value


def append_row(path: Path, row: Mapping[str, Any], columns: Iterable[str]) -> None:
    """Append a row to a CSV file; the header comes with the first one."""
    columns = list(columns)
    if row.keys() != set(columns):
        raise ValueError(f"the columns are {columns}, the row has {list(row)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", newline="", encoding="utf-8") as file:
            if file.tell() == 0:
                file.write(_csv_line(columns))
            file.write(_csv_line(row[name] for name in columns))
    except OSError as error:
        raise cannot_write(path, error) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file that `append_row` wrote; none if there is no such file.

    A row that a crash cut short is left out.

    Raises:
        DitbenchError: when the file cannot be read, or is no CSV file.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DitbenchError(f"cannot read {path}: {error.strerror}", "may you read it?") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    whole = [row for row in rows if None not in row and None not in row.values()]
    return [{name: parse_cell(text) for name, text in row.items()} for row in whole]


def _damaged(path: Path, reason: str) -> DitbenchError:
    return DitbenchError(
        f"{path} is damaged: {reason}", "remove the run directory and run it again"
    )


def _csv_line(cells: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def parse_cell(text: str) -> int | float | str:
    """The number that a cell of a CSV file holds, or else its text."""
    if "_" in text:  # Python reads 1_000 as a number; no writer of ours does
        return text
    # Asked first, because an error costs more than all else here: half of the cells are floats.
    kinds = (int, float) if text.removeprefix("-").isdecimal() else (float,)
    for kind in kinds:
        try:
            return kind(text)
        except ValueError:
            continue
    return text
