"""What `run` and `tune` share: checks, `--dry-run`, and the end after Ctrl-C or SIGTERM."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ditbench.cli.options.parse import parse_count
from ditbench.cli.options.training import Training
from ditbench.cli.output.printing import echo, note
from ditbench.errors import EXIT_SIGNAL, DitbenchError, one_line
from ditbench.few import are_few, few_images

if TYPE_CHECKING:
    from ditbench.config import RunConfig
    from ditbench.launch.devices import Workers
    from ditbench.launch.pool import Outcome
    from ditbench.runs.events.reporter import Reporter
    from ditbench.runs.planning.plan import Plan
    from ditbench.training.stop import StopRequest
    from ditbench.world import World


def with_features(config: RunConfig, out: Path, say: Callable[[str], None]) -> RunConfig:
    """The configuration with the name of its features, where it asks for those at hand."""
    from ditbench.runs.planning.features import choose_features

    name, why = choose_features(config, out)
    if not why:
        return config
    say(f"features: {name}, {why}")
    return config.with_values(metrics__features=name)


def remark_on_scores(plans: Sequence[Plan]) -> None:
    """Print what was done to pictures, what label accuracy makes of classes, and if images are few.

    Runs that were begun keep the metrics that they began with.
    """
    from ditbench.metrics import class_remark
    from ditbench.runs.scoring.scored import other_decoder, remark, scored_as

    plans = [plan for plan in plans if plan.world.first]
    for dataset in {plan.dataset for plan in plans}:
        if dataset.notes:
            note("latents" if dataset.latents else "pictures", one_line(", ".join(dataset.notes)))
    new = [plan for plan in plans if not plan.directory.checkpoints]
    classes = ((plan.config.metrics.features, scored_as(plan.config, plan.dataset)) for plan in new)
    remarks = [*starmap(class_remark, classes), *map(other_decoder, new), *map(remark, new)]
    scored = ((p.config.metrics.features, len(p.dataset), p.config.eval.samples) for p in plans)
    remarks += [few_images(*each) for each in scored if are_few(*each)]
    for text in filter(None, dict.fromkeys(remarks)):
        note("warning", text)


def parse_workers(text: str | None, launcher: str = "local") -> int | None:
    """The value of --workers; None where it is not given."""
    if text is not None and launcher != "local":
        raise DitbenchError(
            f"--workers and --launcher {launcher} are given together",
            "with --launcher slurm, --slurm parallel=N is how many jobs run at a time",
        )
    return None if text is None else parse_count(text, "--workers")


def trackers_of(options: Training) -> tuple[str, ...]:
    """The names in --log, whose packages are installed."""
    if options.log is None:
        return ()
    from ditbench.runs.events.trackers import parse_trackers

    return parse_trackers(options.log)


def workers_for(plans: Sequence[Plan], options: Training) -> Workers:
    """The workers for the runs that are left."""
    from ditbench.launch.devices import choose_workers

    left = [plan for plan in plans if not plan.directory.is_complete()]
    number = parse_workers(options.workers)
    return choose_workers(number, len(left), plans[0].device, options.gpus)


def at_a_time(workers: Workers) -> str:
    """`, 4 at a time`; empty for one after the other."""
    return f", {len(workers)} at a time" if len(workers) > 1 else ""


@contextmanager
def executing(
    plans: Sequence[Plan], workers: Workers, *, quiet: bool
) -> Iterator[tuple[Reporter, Iterator[Outcome]]]:
    """Execute runs, in workers if there are several of those, or several GPUs for each run.

    Yields what reports them, and each run with its outcome as soon as it ends.
    """
    from ditbench.launch.pool import execute_at_once
    from ditbench.launch.table import LiveTable
    from ditbench.runs.events.progress import Bars, reporter
    from ditbench.runs.sweep import execute_each

    live = LiveTable if len(workers) > 1 else Bars
    elsewhere = len(workers) > 1 or workers.gpus > 1
    world = plans[0].world if plans else None
    left = sum(not plan.directory.is_complete() for plan in plans)
    with interruptible(world) as stop, reporter(left, quiet=quiet, live=live) as shown:
        run_all = partial(execute_at_once, workers=workers) if elsewhere else execute_each
        with closing(run_all(plans, shown, stop)) as outcomes:
            yield shown, outcomes


@contextmanager
def interruptible(world: World | None = None) -> Iterator[StopRequest]:
    """Turn signals into a request to stop, and leave with the signal's exit code.

    The processes of a world stop together.
    """
    from ditbench.training.stop import SharedStop, Stopped, StopRequest, stopping

    stop = StopRequest() if world is None or world.alone else SharedStop(world)
    try:
        with stopping(stop):
            yield stop
    except (Stopped, KeyboardInterrupt) as ended:
        saved = isinstance(ended, Stopped)
        state = "saved" if saved else "stopped at once, the last checkpoint is kept"
        command = shlex.join(["ditbench", *sys.argv[1:]])  # the same command resumes
        if world is None or world.first:
            echo(f"interrupted, {state}; to resume: {command}", err=True)
        number = ended.number if isinstance(ended, Stopped) else stop.number
        raise typer.Exit(EXIT_SIGNAL + (number or signal.SIGINT)) from None
