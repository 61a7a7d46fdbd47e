"""Make the reference runs in list.toml: the same line again continues where it stopped.

    python docs/evidence/run.py --minutes 9 --data cifar10-train.zip --pack new.tar.gz

Stages are made in order, seed by seed, each run by one process at a time. All blocks of a seed are
run on cards of one name, and all runs of a stage from one commit. A run is started only if it will
end in the minutes given: one that was interrupted starts again. With `--resume` it is saved, and
continued. README.md says more.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tarfile
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.config import load
from ditbench.data import loader_of
from ditbench.errors import DitbenchError, unknown_name
from ditbench.files import read_json
from ditbench.plugins.lookup import expand_all
from ditbench.report.reading.sweeps import read_sweeps
from ditbench.report.tuning import choose
from ditbench.rundir import TUNING, RunDirectory
from ditbench.runs.directory.lock import is_held, locked
from ditbench.runs.events.progress import reporter, sentence
from ditbench.runs.machine.environment import device_name, select_device, source_commit
from ditbench.runs.planning.plan import Plan, plan_tasks, resolve_all
from ditbench.runs.run import execute
from ditbench.runs.sweep import has_diverged, plan_sweep
from ditbench.training.stop import Stopped, StopRequest

if TYPE_CHECKING:
    import torch

HERE = Path(__file__).parent
# What a run takes besides training, sampling and scoring, in seconds: the first one of a process
# also compiles kernels and reads the images.
FIRST, LATER = 60.0, 10.0
# With --resume: seconds before the end in which a run is saved, and in which none is started.
SAVING, TOO_LATE = 15.0, 90.0


@dataclass(frozen=True)
class Stage:
    """A table of list.toml, which describes the keys."""

    name: str
    preset: str
    blocks: list[str]
    seeds: list[int]
    expect: float
    directory: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    of: dict[str, dict[str, Any]] = field(default_factory=dict)
    rates: list[float] | None = None
    fraction: float = 1.0
    tuned: bool = False

    def plan(self, out: Path, data: Path | None, device: torch.device) -> list[Plan]:
        """All runs, seed by seed."""
        given = {} if data is None else {"data.name": loader_of(data), "data.path": str(data)}
        label = {"preset": self.directory or self.preset}
        base = load(self.preset, overrides=self.settings | given | label)
        blocks, seeds = expand_all(self.blocks), self.seeds
        if self.rates is not None:
            grid = {"rates": self.rates, "seeds": seeds, "fraction": self.fraction}
            return plan_sweep(base, blocks, out, device, **grid)
        configs = [
            base.with_values(block=block, seed=seed, **self.of.get(block, {}))
            for seed in seeds
            for block in blocks
        ]
        tasks = resolve_all(configs, device)
        notes: dict[str, dict[str, Any]] = {block: {} for block in blocks}
        if self.tuned:
            sweeps = choose([task.config for task in tasks], read_sweeps(out / TUNING)[0], "{}")
            rates = {block: sweep.best for block, sweep in sweeps.items()}
            notes = {block: sweep.origin(TUNING) for block, sweep in sweeps.items()}
            tasks = [
                replace(task, config=task.config.with_values(train__lr=rates[task.config.block]))
                for task in tasks
            ]
        planned = {"planned_seeds": len(seeds)}
        return [
            replace(plan, notes=planned | notes[plan.config.block])
            for plan in plan_tasks(tasks, out)
        ]


def read_list(path: Path, name: str | None = None) -> list[Stage]:
    """The stages in a file such as list.toml, or the one of that name."""
    stages = [Stage(**table) for table in tomllib.loads(path.read_text("utf-8"))["stage"]]
    if name not in (None, *(names := [stage.name for stage in stages])):
        raise unknown_name("stage", str(name), names)
    return [stage for stage in stages if name in (None, stage.name)]


def is_done(plan: Plan) -> bool:
    """Whether there is nothing left to run: that training diverged is a result, too."""
    return plan.directory.is_complete() or has_diverged(plan)


def expected(plan: Plan, stage: Stage, plans: list[Plan]) -> float:
    """Seconds of training, sampling and scoring, from the runs of the stage that are complete.

    It is the most that this block took, or else that others took, by multiply-accumulates.
    """
    done = [other for other in plans if other.directory.is_complete()]
    if own := [_seconds(other) for other in done if other.config.block == plan.config.block]:
        return 1.05 * max(own)
    if others := [_seconds(other) / other.cost.gmacs for other in done]:
        return min(stage.expect, 1.15 * plan.cost.gmacs * max(others))
    return stage.expect


def _seconds(plan: Plan) -> float:
    result = plan.directory.read_result()
    return float(result["train_seconds"] + result["eval_seconds"])


def check_commit(stage: Stage, plans: list[Plan], commit: str | None, *, dirty: bool) -> None:
    """Refuse to add runs of another commit to a stage, or of code that no commit holds."""
    hint = "README.md beside this script says how to run from one commit; or pass --any-commit"
    if dirty:
        raise DitbenchError("the code differs from its commit", hint)
    begun = {_fact(plan.directory, "git_commit") for plan in plans if is_done(plan)}
    if commit is not None and (others := begun - {commit, None}):
        found = ", ".join(sorted(others))
        raise DitbenchError(f"stage {stage.name} has runs of commit {found}, not {commit}", hint)


def _fact(run: RunDirectory, key: str) -> Any:
    return read_json(run.environment).get(key)


def seeds_for(card: str | None, plans: list[Plan]) -> tuple[list[Plan], dict[int, str]]:
    """The runs that are left for a card, if not for any, and seeds begun on another one."""
    others = {
        plan.config.seed: str(_fact(plan.directory, "device"))
        for plan in plans
        if card is not None and is_done(plan) and _fact(plan.directory, "device") != card
    }
    left = [plan for plan in plans if not is_done(plan)]
    unfinished = {plan.config.seed for plan in left}
    mine = [plan for plan in left if plan.config.seed not in others]
    return mine, {seed: other for seed, other in others.items() if seed in unfinished}


def claimed(plans: list[Plan]) -> Iterator[Plan]:
    """Each run that no other process makes, or has made; it is this one's until the next."""
    for plan in plans:
        claim = plan.directory.path.with_name(f".{plan.directory.path.name}")
        with ExitStack() as held:
            try:
                held.enter_context(locked(claim))
            except DitbenchError:
                if not is_held(claim):
                    raise
                continue
            if not is_done(plan):
                yield plan


def run_whole(plan: Plan, card: str, saved_at: float | None = None) -> bool:
    """Train and evaluate in one go: the checkpoints of an interrupted attempt are removed.

    With `saved_at`, those of this card are continued, and at that time the run is saved. Returns
    whether the run has ended.
    """
    with locked(plan.directory.lock):
        for path in plan.directory.checkpoints:
            if saved_at is None or _fact(plan.directory, "device") != card:
                path.unlink()
    stop = StopRequest()
    if saved_at is not None:
        left = max(0.0, saved_at - time.monotonic())
        end = threading.Timer(left, setattr, (stop, "number", signal.SIGTERM))
        end.daemon = True
        end.start()
    with reporter(1, quiet=False) as shown:
        try:
            shown.say(sentence(execute(plan, shown, stop)))
        except Stopped:
            return False
        except DitbenchError as error:
            if not has_diverged(plan):
                raise
            shown.failed(plan, error)
    return True


def pack(path: Path, runs: list[RunDirectory], root: Path) -> None:
    """Write run directories, without checkpoints, to a .tar.gz with names relative to `root`."""
    with tarfile.open(path, "w:gz") as archive:
        for run in runs:
            name = run.path.relative_to(root).as_posix()
            archive.add(run.path, name, filter=lambda each: None if _stays(each.name) else each)


def _stays(name: str) -> bool:
    return Path(name).name in ("checkpoints", ".lock")


def plan_if_tuned(
    stage: Stage, options: argparse.Namespace, device: torch.device
) -> tuple[list[Plan], str]:
    """The runs of a stage, or why its learning rates are not known yet."""
    try:
        return stage.plan(options.out, options.data, device), ""
    except DitbenchError as error:
        if not stage.tuned:
            raise
        return [], f"stage {stage.name} is left: {error.message}"


def make(options: argparse.Namespace, ends: float) -> Iterator[str]:
    """Make runs until the list is done or the time is up; yields what to print."""
    device = select_device(options.device)
    card, (commit, dirty) = device_name(device), source_commit()
    if commit is None:
        commit = options.commit
        yield f"no git here: the commit is {commit or 'not recorded, see --commit'}"
    facts = {} if commit is None else {"git_commit": commit}
    new: list[RunDirectory] = []
    table = [f"{'stage':12} {'runs':>5} {'done':>5} {'left':>5} {'hours left':>10}"]
    stopped = False
    for stage in read_list(options.list, options.stage):
        plans, reason = plan_if_tuned(stage, options, device)
        if reason:
            yield reason
            continue
        mine, elsewhere = seeds_for(None if options.any_card else card, plans)
        yield from (
            f"{stage.name}, seed {seed}: begun on {other}, so it is left for such a card"
            for seed, other in elsewhere.items()
        )
        mine = [] if stopped else mine  # a dry run names the first run only, and writes nothing
        for plan in mine if options.dry_run else claimed(mine):
            if not options.any_commit:
                check_commit(stage, plans, commit, dirty=bool(dirty))
            needed = expected(plan, stage, plans) + (LATER if new else FIRST)
            needed = min(needed, TOO_LATE) if options.resume else needed
            if stopped := options.dry_run or time.monotonic() + needed > ends:
                yield f"next: {stage.name}, {plan.label}, about {needed:.0f} s"
                break
            saved_at = min(ends - SAVING, threading.TIMEOUT_MAX) if options.resume else None
            stopped = not run_whole(replace(plan, notes=plan.notes | facts), card, saved_at)
            if stopped:
                yield f"saved: {stage.name}, {plan.label}; the same line continues it"
                break
            new.append(plan.directory)
            if options.pack is not None:  # after each run, so that a kill loses none before
                pack(options.pack, new, options.out)
        left = [plan for plan in plans if not is_done(plan)]
        hours = sum(expected(plan, stage, plans) + LATER for plan in left) / 3600
        done = len(plans) - len(left)
        table.append(f"{stage.name:12} {len(plans):5} {done:5} {len(left):5} {hours:10.1f}")
        if stopped and not options.dry_run:  # planning the other stages would take time, too
            break
    yield "\n".join(table)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="the time that is left")
    parser.add_argument("--data", type=Path, help="the images, instead of the preset's download")
    parser.add_argument("--stage", help="only this stage of the list")
    parser.add_argument("--dry-run", action="store_true", help="show what is done and left")
    parser.add_argument("--pack", type=Path, help="a .tar.gz for the new runs, without checkpoints")
    parser.add_argument("--resume", action="store_true", help="save at the end, and continue")
    parser.add_argument("--any-card", action="store_true", help="mix cards within a seed")
    parser.add_argument("--any-commit", action="store_true", help="mix commits within a stage")
    parser.add_argument("--commit", help="the commit to record where there is no git")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--list", type=Path, default=HERE / "list.toml")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "results" / "reference")
    options = parser.parse_args(arguments)
    try:
        for text in make(options, started + 60 * options.minutes):
            print(text, flush=True)
    except DitbenchError as error:
        print(f"error: {error.message}\nhelp: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: the same line starts this run again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
