"""The run directory: the only bridge between training and reporting. Torch-free.

Only this file knows the names and formats inside it:

    results/<preset>/<block>/seed<k>-<fingerprint8>/
        config.toml   cost.json   env.json   train.csv   eval.csv   samples/   checkpoints/
        strategy.py   the source of a block that is not ditbench's own
        failure.json  why it stopped, until it resumes
        result.json   written last: a run without it is not complete. It holds the SHA-256 of
                      config.toml, env.json, cost.json, train.csv and eval.csv
"""

from __future__ import annotations

import hashlib
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

# Incremented when older versions would misread the files. All earlier schemas stay readable.
# 1: no hashes of the other files in result.json, no description of the metrics.
SCHEMA = 2
_READ = (1, 2)

# The key in env.json for the rates and seeds of the sweep that a run belongs to.
SWEEP = "sweep"
# The directory of the sweeps of `ditbench tune`, below a directory of results.
TUNING = "tune"

OWN_DIRECTORIES = ("samples", "checkpoints")
TRAIN_COLUMNS = ("step", "images", "seconds", "loss", "lr", "grad_norm")


def metric_suffix(samples: int) -> str:
    """The number of samples in a metric's name: 2000 -> `2k`, 1797 -> `1797`."""
    return f"{samples // 1000}k" if samples % 1000 == 0 else str(samples)


class RunDirectory:
    """One run's files.

    Args:
        path: the directory; nothing is created until something is written.

    Attributes:
        config: everything that determines the result, TOML.
        strategy: the source of a block that is not ditbench's own, as the run was started.
        environment: versions, device, commit, JSON.
        cost: parameters, MACs, training cost, JSON.
        train: the training log, CSV with `TRAIN_COLUMNS`.
        evaluations: one row per evaluation, CSV.
        result: the summary that is written last, JSON.
        failure: why the run stopped, JSON; removed when it resumes.
        lock: held by the process that writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.strategy = path / "strategy.py"
        self.environment = path / "env.json"
        self.cost = path / "cost.json"
        self.train = path / "train.csv"
        self.evaluations = path / "eval.csv"
        self.result = path / "result.json"
        self.failure = path / "failure.json"
        self.lock = path / ".lock"

    @classmethod
    def of(cls, out: Path, preset: str, block: str, seed: int, fingerprint: str) -> RunDirectory:
        """The directory of one configuration and seed below `out`."""
        return cls(out / preset / block / f"seed{seed}-{fingerprint[:8]}")

    @property
    def recorded(self) -> tuple[Path, ...]:
        """The files whose SHA-256 is in result.json."""
        return (self.config, self.environment, self.cost, self.train, self.evaluations)

    @property
    def checkpoint(self) -> Path:
        """The latest checkpoint, safetensors."""
        return self.path / "checkpoints" / "latest.safetensors"

    @property
    def checkpoints(self) -> list[Path]:
        """The existing checkpoints, the newest first.

        They are the latest and the one before. After a crash between the renames of
        `write_checkpoint` there is one more, which is whole but not yet in the latest's place.
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
        """Whether the run has ended and written its result."""
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
        """Whether the files that `start` writes exist."""
        return all(path.is_file() for path in (self.config, self.environment, self.cost))

    def describe(
        self,
        config_toml: str,
        environment: Mapping[str, Any],
        cost: Mapping[str, Any],
        strategy: bytes | None = None,
    ) -> None:
        """Write what is known up front, with the source of a block that is not ditbench's own."""
        if strategy is not None:
            write_atomically(self.strategy, lambda file: file.write(strategy))
        write_json(self.environment, environment)
        write_json(self.cost, cost)
        write_text(self.config, config_toml)  # last: it makes the directory a run

    def append_train(self, row: Mapping[str, Any]) -> None:
        """Add a row to the training log."""
        self._check_exists()
        append_row(self.train, row, TRAIN_COLUMNS)

    def append_evaluation(self, row: Mapping[str, Any]) -> None:
        """Add a row to the table of evaluations; the first row's keys are its columns."""
        self._check_exists()
        append_row(self.evaluations, row, tuple(row))

    def write_checkpoint(self, content: bytes) -> None:
        """Replace the latest checkpoint; the one before is kept until the next call."""
        self._check_exists()
        write_atomically(self._incoming, lambda file: file.write(content))
        self._promote()

    def keep_checkpoint(self, path: Path) -> None:
        """Move the checkpoint that a run resumes from to its place, if a crash prevented that.

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
        """Record why the run stopped."""
        self._check_exists()
        write_json(self.failure, facts)

    def _check_exists(self) -> None:
        """Refuse to write into a directory that was removed: part of a run is not a run."""
        if not self.config.is_file():
            raise DitbenchError(
                f"{self.path} is gone: it was removed while the run was writing to it",
                "run the same command to start it again",
                EXIT_FAILED,
            )

    def read_evaluations(self) -> list[dict[str, Any]]:
        """The rows of eval.csv, numbers as numbers."""
        return read_rows(self.evaluations)

    def check_tables(self, logged: int, evaluated: int) -> None:
        """Refuse tables that lack rows that a checkpoint counts.

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
                raise damaged(path, "its steps do not increase from row to row")

    def rewind(self, logged: int, evaluated: int) -> None:
        """Restore the state of a checkpoint: drop later rows and half-written files.

        Args:
            logged: the number of rows of train.csv at the checkpoint.
            evaluated: the number of rows of eval.csv.
        """
        remove_leftovers(self.path)
        _remove(self.failure)
        # With a time budget, the next evaluation may be at another step.
        steps = [row["step"] for row in self.read_evaluations()[:evaluated]]
        kept = [self.samples(step) for step in steps]
        for path in self.path.glob("samples/step-*.png"):
            if path not in kept:
                _remove(path)
        for path, count in ((self.train, logged), (self.evaluations, evaluated)):
            _cut(path, count)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write `result.json`, which makes the run complete."""
        self._check_exists()
        write_json(self.result, {"schema": SCHEMA, **result, "sha256": self._digests()})

    def read_result(self) -> dict[str, Any]:
        """`result.json`.

        Raises:
            DitbenchError: missing, not a JSON object, or of a schema this version cannot read.
        """
        result = read_json(self.result, "remove that file to run it again")
        schema = result.get("schema")
        if type(schema) is not int or schema not in _READ:  # `true` and 1.0 equal 1
            known = " and ".join(map(str, _READ))
            raise DitbenchError(
                f"{self.result} has schema {schema!r}, this version reads {known}",
                "use the ditbench that wrote it, or run it again",
            )
        return result

    def check_recorded(self, result: Mapping[str, Any]) -> None:
        """Refuse a run whose files were edited after it ended. Schema 1 has no hashes to check.

        Args:
            result: of `read_result`.

        Raises:
            DitbenchError: names the first file that is not as the run left it.
        """
        if result["schema"] == 1:
            return
        recorded, found = result.get("sha256"), self._digests()
        if not isinstance(recorded, dict):
            raise DitbenchError(f"{self.result.name}: sha256 is missing or not a table")
        for path in self.recorded:
            if recorded.get(path.name) != found.get(path.name):
                raise DitbenchError(
                    f"{path.name} was changed after the run ended: its SHA-256 is not the one in "
                    f"{self.result.name}"
                )

    def _digests(self) -> dict[str, str]:
        """The SHA-256 of each recorded file that exists."""
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.recorded
            if path.is_file()
        }


def _cut(path: Path, count: int) -> None:
    """Keep the first rows of a table; remove a table without a complete row."""
    rows = read_rows(path)[:count]
    if rows:
        # Atomically: a crash between two rows would lose the others.
        write_text(path, "".join(map(csv_line, [rows[0], *(row.values() for row in rows)])))
    else:
        _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
