"""The run directory: the one bridge between measuring and telling. Torch-free.

Only this file knows the names and formats inside it:

    results/<preset>/<block>/seed<k>-<fingerprint8>/
        config.toml   cost.json   env.json   train.csv   eval.csv   samples/   checkpoints/
        strategy.py   the source of a strategy that is not ditbench's own
        failure.json  why it stopped, while it has not gone on
        result.json   written last: a run without it is not complete
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import (
    cannot_write,
    read_json,
    remove_leftovers,
    sync_directory,
    write_atomically,
    write_json,
    write_text,
)
from ditbench.rows import append_row, csv_line, damaged, read_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Raised when a reader of an older version would misread the files.
SCHEMA = 1

# What env.json of a run in a sweep calls the sweep's rates and seeds.
SWEEP = "sweep"

OWN_DIRECTORIES = ("samples", "checkpoints")
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

    @cached_property
    def config(self) -> Path:
        """Everything that determines the result, TOML."""
        return self.path / "config.toml"

    @cached_property
    def strategy(self) -> Path:
        """The source of a strategy that is not ditbench's own, Python, as the run was started."""
        return self.path / "strategy.py"

    @cached_property
    def environment(self) -> Path:
        """Versions, device, commit, JSON."""
        return self.path / "env.json"

    @cached_property
    def cost(self) -> Path:
        """Parameters, MACs, training cost, JSON."""
        return self.path / "cost.json"

    @cached_property
    def train(self) -> Path:
        """The training log, CSV with `TRAIN_COLUMNS`."""
        return self.path / "train.csv"

    @cached_property
    def evaluations(self) -> Path:
        """One row an evaluation, CSV."""
        return self.path / "eval.csv"

    @cached_property
    def result(self) -> Path:
        """The summary that is written last, JSON."""
        return self.path / "result.json"

    @cached_property
    def failure(self) -> Path:
        """Why the run stopped, JSON; removed when it goes on."""
        return self.path / "failure.json"

    @cached_property
    def lock(self) -> Path:
        """Held by the process that writes."""
        return self.path / ".lock"

    @cached_property
    def checkpoint(self) -> Path:
        """The latest checkpoint, safetensors."""
        return self.path / "checkpoints" / "latest.safetensors"

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoints that are there, the newest first.

        They are the latest and the one before; and one that is whole but not yet in the latest's
        place, when a crash came between the renames of `write_checkpoint`.
        """
        paths = (self._incoming, self.checkpoint, self._previous)
        return [path for path in paths if path.is_file()]

    @property
    def _incoming(self) -> Path:
        return self.checkpoint.with_name("next.safetensors")

    @property
    def _previous(self) -> Path:
        return self.checkpoint.with_name("previous.safetensors")

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
        self,
        config_toml: str,
        environment: Mapping[str, Any],
        cost: Mapping[str, Any],
        strategy: bytes | None = None,
    ) -> None:
        """Create the directory, or empty an incomplete one, and write what is known up front."""
        remove_leftovers(self.path)
        stale = (self.train, self.evaluations, self.failure, *self.path.glob("samples/step-*.png"))
        for path in stale:
            _remove(path)
        self.describe(config_toml, environment, cost, strategy)

    def is_described(self) -> bool:
        """Whether what `start` writes is there; somebody may have removed it."""
        return all(path.is_file() for path in (self.config, self.environment, self.cost))

    def describe(
        self,
        config_toml: str,
        environment: Mapping[str, Any],
        cost: Mapping[str, Any],
        strategy: bytes | None = None,
    ) -> None:
        """Write what is known up front, the source of a strategy that is not ditbench's own too."""
        if strategy is not None:
            write_atomically(self.strategy, lambda file: file.write(strategy))
        write_json(self.environment, environment)
        write_json(self.cost, cost)
        write_text(self.config, config_toml)  # last, because it makes the directory a run's

    def append_train(self, row: Mapping[str, Any]) -> None:
        """Add a row to the training log."""
        self._must_be_there()
        append_row(self.train, row, TRAIN_COLUMNS)

    def append_evaluation(self, row: Mapping[str, Any]) -> None:
        """Add a row to the table of evaluations; the first row's keys are its columns."""
        self._must_be_there()
        append_row(self.evaluations, row, tuple(row))

    def write_checkpoint(self, content: bytes) -> None:
        """Replace the latest checkpoint; the one before stays, until this one is whole and on."""
        self._must_be_there()
        write_atomically(self._incoming, lambda file: file.write(content))
        self._promote()

    def keep_checkpoint(self, path: Path) -> None:
        """Put the checkpoint that a run goes on from where it belongs, if a crash kept it from it.

        Args:
            path: one of `checkpoints`.
        """
        if path == self._incoming:
            self._promote()

    def _promote(self) -> None:
        try:
            if self.checkpoint.is_file():
                self.checkpoint.replace(self._previous)
            self._incoming.replace(self.checkpoint)
        except OSError as error:
            raise cannot_write(self.checkpoint, error) from error
        sync_directory(self.checkpoint.parent)

    def write_failure(self, facts: Mapping[str, Any]) -> None:
        """Note why the run stopped."""
        self._must_be_there()
        write_json(self.failure, facts)

    def _must_be_there(self) -> None:
        """Refuse to write into a directory that was removed under a run: half of one is no run."""
        if not self.config.is_file():
            raise DitbenchError(
                f"{self.path} is gone: it was removed while the run was writing to it",
                "the same command starts it anew",
                EXIT_FAILED,
            )

    def read_evaluations(self) -> list[dict[str, Any]]:
        """The rows of eval.csv, numbers as numbers."""
        return read_rows(self.evaluations)

    def check_tables(self, logged: int, evaluated: int) -> None:
        """Refuse tables that lack what a checkpoint counts.

        Raises:
            DitbenchError: rows are missing or out of order, or a table cannot be read.
        """
        for path, count in ((self.train, logged), (self.evaluations, evaluated)):
            rows = read_rows(path)
            if len(rows) < count:
                raise damaged(path, f"it has {len(rows)} rows, its checkpoint counts {count}")
            steps = [row.get("step") for row in rows[:count]]
            known = [step for step in steps if isinstance(step, int)]
            if sorted(set(known)) != steps:
                raise damaged(path, "its steps do not rise from row to row")

    def rewind(self, logged: int, evaluated: int) -> None:
        """Go back to where a checkpoint was made: drop the rows after it, and what is half there.

        Args:
            logged: rows of train.csv at the checkpoint.
            evaluated: rows of eval.csv then.
        """
        remove_leftovers(self.path)
        _remove(self.failure)
        # Under a budget of time the next evaluation may come at another step.
        steps = [row["step"] for row in self.read_evaluations()[:evaluated]]
        kept = [self.samples(step) for step in steps]
        for path in self.path.glob("samples/step-*.png"):
            if path not in kept:
                _remove(path)
        for path, count in ((self.train, logged), (self.evaluations, evaluated)):
            _cut(path, count)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write `result.json`, which makes the run complete."""
        self._must_be_there()
        write_json(self.result, {"schema": SCHEMA, **result})

    def read_result(self) -> dict[str, Any]:
        """`result.json`.

        Raises:
            DitbenchError: missing, not a JSON object, or of a schema this version cannot read.
        """
        result = read_json(self.result, "remove that file: the run then makes it anew")
        schema = result.get("schema")
        if type(schema) is not int or schema != SCHEMA:  # `true` and 1.0 equal 1
            raise DitbenchError(
                f"{self.result} has schema {schema!r}, this version reads {SCHEMA}",
                "use the ditbench that wrote it, or run it again",
            )
        return result


def _cut(path: Path, count: int) -> None:
    """Leave the first rows of a table; one without a whole row goes, torn header and all."""
    rows = read_rows(path)[:count]
    if rows:
        # At once, because a crash between two rows would lose the others.
        write_text(path, "".join(map(csv_line, [rows[0], *(row.values() for row in rows)])))
    else:
        _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
