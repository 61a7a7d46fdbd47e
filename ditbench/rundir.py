"""The run directory: the only bridge between training and reporting. Torch-free.

Only this file knows the names and formats inside it:

    results/<preset>/<block>/seed<k>-<fingerprint8>/
        config.toml   cost.json   env.json   train.csv   eval.csv   samples/   checkpoints/
        strategy.py   the source of a block that is not ditbench's own
        failure.json  why it stopped, until it resumes
        final.csv     the draws of the final score, if it is not the last row of eval.csv
        tracking.json the runs of trackers (--log), and what they have
        evals/        later evaluations of the final model, one JSON file per setting
        result.json   written last: a run without it is not complete. It holds the SHA-256 of
                      config.toml, env.json, cost.json and the three .csv files
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import (
    cannot_write,
    read_json,
    remove_file,
    remove_leftovers,
    sync_directory,
    write_atomically,
    write_json,
    write_text,
)
from ditbench.rows import append_row, check_rows, keep_rows, read_rows

# Incremented when older versions would misread the files. All earlier schemas stay readable.
# 1: no hashes of the other files in result.json, no description of the metrics.
SCHEMA = 2

# Keys of env.json:
SWEEP = "sweep"  # the rates and seeds of the sweep that a run belongs to
PLANNED_SEEDS = "planned_seeds"  # the number of seeds of the command that planned a run
REPRODUCES = "reproduces"  # the run that this one repeats
SHARED_CPU = "shared_cpu_workers"  # the number of runs that shared a CPU, if there were several
WORLD_SIZE = "world_size"  # the number of processes that trained a run together
WORLD_SIZE_CHANGED = "world_size_changed_at_step"  # the step from which it is that number
# Below a directory of results: the sweeps of `ditbench tune`, the scores of `ditbench eval --init`.
TUNING, WEIGHTS = "tune", "weights"
EVALS, EVAL_SCHEMA = "evals", 1  # the directory of later evaluations, the schema of its files
OWN_DIRECTORIES = ("samples", "checkpoints", EVALS)
TRAIN_COLUMNS = ("step", "images", "seconds", "loss", "lr", "grad_norm")


def metric_suffix(samples: int) -> str:
    """The number of samples in a metric's name: 2000 -> `2k`, 1797 -> `1797`."""
    return f"{samples // 1000}k" if samples % 1000 == 0 else str(samples)


class RunDirectory:
    """One run's files.

    Args:
        path: the directory; nothing is created until something is written.

    Attributes:
        recorded: the files whose SHA-256 is in result.json.
        checkpoint: the latest checkpoint, safetensors.
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
        self.finals = path / "final.csv"
        self.result = path / "result.json"
        self.failure = path / "failure.json"
        self.tracking = path / "tracking.json"
        tables = (self.train, self.evaluations, self.finals)
        self.recorded = (self.config, self.environment, self.cost, *tables)
        self.lock = path / ".lock"
        self.checkpoint = path / "checkpoints" / "latest.safetensors"
        self._incoming = self.checkpoint.with_name("next.safetensors")
        self._previous = self.checkpoint.with_name("previous.safetensors")

    @classmethod
    def of(cls, out: Path, preset: str, block: str, seed: int, fingerprint: str) -> RunDirectory:
        """The directory of one configuration and seed below `out`."""
        return cls(out / preset / block / f"seed{seed}-{fingerprint[:8]}")

    @property
    def checkpoints(self) -> list[Path]:
        """The existing checkpoints, the newest first: the latest and the one before.

        After a crash between the renames of `keep_checkpoint` there is one more, which is whole.
        """
        paths = (self._incoming, self.checkpoint, self._previous)
        return [path for path in paths if path.is_file()]

    def samples(self, step: int) -> Path:
        """The sample grid of one evaluation, PNG."""
        return self.path / "samples" / f"step-{step:06d}.png"

    def is_complete(self) -> bool:
        """Whether the run has ended and written its result."""
        return self.result.is_file()

    def last_samples(self) -> Path | None:
        """The newest sample grid, or None."""
        return max(self.path.glob("samples/step-*.png"), default=None)

    def is_described(self) -> bool:
        """Whether the files that `start` writes exist."""
        return all(path.is_file() for path in (self.config, self.environment, self.cost))

    def check_config(self) -> None:
        """A DitbenchError if this is not the directory of a run."""
        if not self.config.is_file():
            there = self.path.exists()
            what = "is not a run directory: it has no config.toml" if there else "does not exist"
            hint = "give a directory that `ditbench run` printed"
            raise DitbenchError(f"{self.path} {what}", hint)

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

    def start(self, *description: Any) -> None:
        """Create the directory, or empty an incomplete one, and `describe` the run."""
        remove_leftovers(self.path)
        grids = self.path.glob("samples/step-*.png")
        evals = map(self.eval, self.evals())  # of a model that is trained again
        for path in (self.train, self.evaluations, self.finals, self.failure, *grids, *evals):
            remove_file(path)
        self.describe(*description)

    def failed_because(self) -> str | None:
        """Why training diverged; None if it did not, or if failure.json is damaged."""
        with suppress(DitbenchError):
            if self.failure.is_file() and not self.is_complete():
                return str(read_json(self.failure).get("reason"))
        return None

    def facts(self) -> dict[str, Any]:
        """The contents of env.json; empty if it is missing or damaged."""
        with suppress(DitbenchError):
            if self.environment.is_file():  # reading a pipe would block
                return read_json(self.environment)
        return {}

    def append_train(self, row: Mapping[str, Any]) -> None:
        """Add a row to the training log."""
        self._check_exists()
        append_row(self.train, row, TRAIN_COLUMNS)

    def append_evaluation(self, row: Mapping[str, Any]) -> None:
        """Add a row to the table of evaluations; the first row's keys are its columns."""
        self._check_exists()
        append_row(self.evaluations, row, row)

    def append_final(self, row: Mapping[str, Any]) -> None:
        """Add a draw to the table of final scores."""
        self._check_exists()
        append_row(self.finals, row, row)

    def write_checkpoint(self, content: bytes) -> None:
        """Replace the latest checkpoint; the one before is kept until the next call."""
        self._check_exists()
        write_atomically(self._incoming, lambda file: file.write(content))
        self.keep_checkpoint(self._incoming)

    def keep_checkpoint(self, path: Path) -> None:
        """Move one of `checkpoints` to the latest's place, if a crash prevented that."""
        if path != self._incoming:
            return
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
            what = f"{self.path} is gone: it was removed while the run was writing to it"
            raise DitbenchError(what, "run the same command to start it again", EXIT_FAILED)

    def read_evaluations(self) -> list[dict[str, Any]]:
        """The rows of eval.csv, numbers as numbers."""
        return read_rows(self.evaluations)

    def read_finals(self) -> list[dict[str, Any]]:
        """The rows of final.csv, numbers as numbers; none if there is no such file."""
        return read_rows(self.finals)

    def evals(self) -> list[str]:
        """The names of the later evaluations, in order."""
        return sorted(path.stem for path in (self.path / EVALS).glob("*.json"))

    def is_of_weights(self) -> bool:
        """Whether this is not a run, but holds evaluations of weights."""
        return bool(self.evals()) and not self.config.is_file()

    def eval(self, name: str) -> Path:
        """The file of a later evaluation."""
        return self.path / EVALS / f"{name}.json"

    def read_eval(self, name: str) -> dict[str, Any]:
        """A later evaluation; a DitbenchError if its file is damaged or of an unknown schema."""
        path = self.eval(name)
        hint = "move that file away and evaluate the run again"
        content = read_json(path, hint)
        schema, draws = content.get("schema"), content.get("draws")
        if type(schema) is not int or schema != EVAL_SCHEMA:
            what = f"{path} has schema {schema!r}, this version reads {EVAL_SCHEMA}"
            raise DitbenchError(what, hint)
        if not isinstance(draws, list) or not all(isinstance(row, dict) for row in draws):
            raise DitbenchError(f"{path}: draws is not a list of tables", hint)
        return content

    def write_eval(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a later evaluation, with the draws that it has so far."""
        self._check_exists()
        write_json(self.eval(name), {"schema": EVAL_SCHEMA, **content})

    def check_tables(self, logged: int, evaluated: int) -> None:
        """Refuse tables that cannot be read, or that lack rows that a checkpoint counts."""
        check_rows(self.train, logged)
        check_rows(self.evaluations, evaluated)

    def rewind(self, logged: int, evaluated: int) -> None:
        """Restore the state of a checkpoint: keep so many rows, drop the later ones and grids."""
        remove_leftovers(self.path)
        remove_file(self.failure)
        # With a time budget, the next evaluation may be at another step.
        evaluations = self.read_evaluations()
        steps = [row["step"] for row in evaluations[:evaluated]]
        for path in {*self.path.glob("samples/step-*.png")} - {*map(self.samples, steps)}:
            remove_file(path)
        # Final scores are of the weights after the last evaluation, if that one counts.
        drawn = 0 if len(evaluations) > evaluated else None
        keep_rows(self.train, logged)
        keep_rows(self.evaluations, evaluated)
        keep_rows(self.finals, drawn)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write `result.json`, which makes the run complete."""
        self._check_exists()
        write_json(self.result, {"schema": SCHEMA, **result, "sha256": self._digests()})

    def read_result(self) -> dict[str, Any]:
        """`result.json`; a DitbenchError if it is damaged or of an unknown schema."""
        result = read_json(self.result, "remove that file to run it again")
        schema = result.get("schema")
        if type(schema) is not int or schema not in (1, SCHEMA):  # `true` and 1.0 equal 1
            what = f"{self.result} has schema {schema!r}, this version reads 1 and 2"
            raise DitbenchError(what, "use the ditbench that wrote it, or run it again")
        return result

    def check_recorded(self, result: Mapping[str, Any]) -> None:
        """Refuse a run with a file that was edited after it ended. Schema 1 has no hashes."""
        if result["schema"] == 1:
            return
        recorded, found, file = result.get("sha256"), self._digests(), self.result.name
        if not isinstance(recorded, dict):
            raise DitbenchError(f"{file}: sha256 is missing or not a table")
        for path in self.recorded:
            if recorded.get(path.name) != found.get(path.name):
                what = f"{path.name} was changed after the run ended"
                raise DitbenchError(f"{what}: its SHA-256 is not the one in {file}")

    def _digests(self) -> dict[str, str]:
        """The SHA-256 of each recorded file that exists."""
        files = filter(Path.is_file, self.recorded)
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
