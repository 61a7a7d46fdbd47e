"""`ditbench run`: train blocks under one budget and evaluate them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ditbench.cli.execution import continued
from ditbench.cli.execution.forecast import print_forecast
from ditbench.cli.execution.gpus import divided
from ditbench.cli.execution.slurm import parse_launcher, the_run
from ditbench.cli.execution.training import (
    at_a_time,
    executing,
    parse_workers,
    remark_on_scores,
    trackers_of,
    with_features,
    workers_for,
)
from ditbench.cli.options.common import BLOCKS, Runs, how, option, printed, refuse, what
from ditbench.cli.options.completion import complete_blocks, complete_runs
from ditbench.cli.options.parse import parse_blocks, parse_count, parse_rate, parse_seeds
from ditbench.cli.options.training import DryRun, Quiet, Training
from ditbench.cli.output.comparison import print_comparisons
from ditbench.cli.output.meter import load_torch, reading
from ditbench.cli.output.printing import echo, load_sweeps, note, print_json, progress
from ditbench.errors import EXIT_FAILED, DitbenchError, printable
from ditbench.rundir import PLANNED_SEEDS, TUNING

if TYPE_CHECKING:
    from ditbench.launch.devices import Workers
    from ditbench.runs.planning.plan import Plan
    from ditbench.runs.planning.task import Task

TUNED = "tuned"  # as a value of --lr
HINT = "`ditbench tune --block {}` with this command's other options"


def run(
    options: Training,
    block: Annotated[str | None, option("NAMES",
        f"{BLOCKS} Default: paper.", autocompletion=complete_blocks)] = None,
    seeds: Annotated[str | None, option("0,1,...|N",
        "One run per block and seed: `0,1,2` are seeds, `5` is the five seeds 0 to 4, `7,` is seed "
        "7 only. Default: seed 0.")] = None,
    planned_seeds: Annotated[str | None, option("N",
        "How many seeds are planned in total, if several commands share them. Default: those of "
        "this command.")] = None,
    lr: Annotated[str | None, what("X|tuned",
        "Learning rate after the warm-up; `tuned`: the rate that `ditbench tune` chose for each "
        "block.")] = None,
    continue_: Annotated[Path | None, how("RUN",
        "Train a finished run longer, to --steps in total, as a new run.",
        "--continue", autocompletion=complete_runs)] = None,
    launcher: Annotated[str, how("NAME",
        "local, or slurm: one job for each run that is incomplete and has none.")] = "local",
    slurm: Annotated[str | None, how("KEY=VALUE,...",
        "What each job asks of Slurm: partition=gpu,time=4h,gpus=1, or any other option of "
        "sbatch.")] = None,
    task: Annotated[Path | None, option("DIR", "The only run to make.", hidden=True)] = None,
    out: Annotated[Path | None, printed("DIR",
        "Where run directories go. Default: results; with --continue, beside RUN.")] = None,
    dry_run: DryRun = False,
    as_json: Annotated[bool, printed(None,
        "Print results as JSON: a list, one object per run.", "--json")] = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Train each block with each seed under one budget, and evaluate it along the way.

    The same command again resumes where it stopped, and skips complete runs. Settings come
    from the preset, from ./ditbench.toml (see `ditbench init`) or from the images of --data; then
    from the file of --config, then --set, then the other options; the last wins. The budget is one
    of --steps, --flops and --time, or the budget of those settings.
    """
    blocks = None if block is None else parse_blocks(block)
    seed_list = None if seeds is None else parse_seeds(seeds)
    planned = _planned(planned_seeds, len(seed_list or [0]))
    rate = None if lr is None or lr == TUNED else parse_rate(lr)
    jobs = parse_launcher(launcher, slurm, options.device)
    parse_workers(options.workers, launcher)  # before anything else is read
    if jobs and dry_run:
        refuse("--launcher slurm --dry-run, which prints a script,", {"--json": as_json or None})
    trackers = trackers_of(options)
    say = progress(quiet=quiet)
    own_notes: dict[str, Any] = {PLANNED_SEEDS: planned}
    if continue_ is None:
        out = out or Path("results")
        base = options.configure({"train.lr": rate}, say=say, out=out)
    else:
        other = {"--block": block, "--seeds": seeds, "--lr": lr, "--planned-seeds": planned_seeds}
        base, notes_of_parent = continued.configure(continue_, options, other)
        own_notes |= notes_of_parent
        out = continued.place(base, continue_, out)
    blocks = blocks or parse_blocks(base.block)

    load_torch(quiet=quiet)
    from ditbench.runs.machine.environment import select_device
    from ditbench.runs.planning.match import match_sizes
    from ditbench.runs.planning.plan import plan_tasks, resolve_all

    base, device = jobs.place(base) if jobs else (base, select_device(options.device))
    base = with_features(base, out, say)
    configs = [
        base.with_values(block=name, seed=seed)
        for seed in seed_list or [base.seed]
        for name in blocks
    ]
    with reading(quiet=quiet):
        resolved = resolve_all(configs, device)
    tasks, notes = match_sizes(configs, resolved, options.match, say)
    plans = _plan_tuned(tasks, out, say) if lr == TUNED else plan_tasks(tasks, out)
    plans = [plan.with_notes(own_notes | notes.get(plan.config.block, {})) for plan in plans]
    plans = [replace(plan, trackers=trackers) for plan in plans]
    _say_origins(plans, say)
    if jobs or dry_run:
        continued.remark_on_shorter(plans, say)
    if task is not None:
        plans = the_run(task, plans)
    if jobs:
        jobs.launch(plans, out, say, dry_run=dry_run, as_json=as_json)
        return
    workers = workers_for(plans, options)
    if dry_run:
        print_forecast(plans, workers, as_json=as_json, quiet=quiet)
        return
    plans = divided(plans, options)
    quiet = quiet or not plans[0].world.first
    _execute(plans, workers, progress(quiet=quiet), as_json=as_json, quiet=quiet)


def _planned(text: str | None, seeds: int) -> int:
    """The number of seeds that are planned in total, of which this command runs some or all."""
    planned = seeds if text is None else parse_count(text, "--planned-seeds")
    if planned < seeds:
        message = f"--planned-seeds {planned} is less than the {seeds} seeds of this command"
        raise DitbenchError(message, f"pass --planned-seeds {seeds} or more, or leave it out")
    return planned


def _say_origins(plans: Sequence[Plan], say: Callable[[str], None]) -> None:
    """Print which weights the runs of each block start from, if any."""
    from ditbench.runs.origins.init import in_words

    for plan in {plan.config.block: plan for plan in plans}.values():
        if words := in_words(plan.notes):
            say(f"{plan.config.block}: {words}")


def _plan_tuned(tasks: list[Task], out: Path, say: Callable[[str], None]) -> list[Plan]:
    """Plans with the rates that the sweeps of `ditbench tune` chose; env.json says from which."""
    from ditbench.report.tuning import choose
    from ditbench.runs.planning.plan import plan_tasks

    place = out / TUNING
    chosen = choose([task.config for task in tasks], load_sweeps(place), HINT)
    rates = {block: sweep.best for block, sweep in chosen.items()}
    configs = [task.config.with_values(train__lr=rates[task.config.block]) for task in tasks]
    tuned = [replace(task, config=config) for task, config in zip(tasks, configs, strict=True)]
    plans = [
        plan.with_notes(chosen[plan.config.block].origin(str(place)))
        for plan in plan_tasks(tuned, out)
    ]
    best = ", ".join(f"{block} {rate:g}" for block, rate in rates.items())
    of = next(iter(chosen.values()))
    by = f" by {of.title}" if of.few else ""
    say(f"learning rates, tuned{by} with {of.budget} per run in {place}: {best}")
    return plans


def _execute(
    plans: list[Plan], workers: Workers, say: Callable[[str], None], *, as_json: bool, quiet: bool
) -> None:
    from ditbench.runs.events.progress import sentence
    from ditbench.runs.planning.ready import check_ready

    left = [plan for plan in plans if not plan.directory.is_complete()]
    _say_what_is_left(plans, left, workers, say)
    check_ready(plans)
    remark_on_scores(left)
    results: list[dict[str, Any]] = []
    failed: list[tuple[Plan, DitbenchError]] = []
    try:
        with executing(plans, workers, quiet=quiet) as (shown, outcomes):
            for plan, outcome in outcomes:
                path = str(plan.directory.path)
                if isinstance(outcome, DitbenchError):
                    failed.append((plan, outcome))
                    if len(plans) > 1:
                        shown.failed(plan, outcome)
                else:
                    results.append({**outcome, "path": path})
                    if not as_json:
                        shown.say(f"{sentence(outcome)}\n{printable(path)}")
    finally:
        if as_json and (results or len(plans) > 1):  # also what finished before a signal
            order = [str(plan.directory.path) for plan in plans]
            print_json(sorted(results, key=lambda row: order.index(row["path"])))
    if failed:
        raise _failure(failed, len(plans), quiet=quiet)
    if not as_json and plans[0].world.first:
        _conclude(plans, quiet=quiet)


def _say_what_is_left(
    plans: Sequence[Plan], left: Sequence[Plan], workers: Workers, say: Callable[[str], None]
) -> None:
    continued.remark_on_shorter(left, say)
    if len(plans) > 1:
        complete = len(plans) - len(left)
        to_go = f"{len(left)} to go{at_a_time(workers)}"
        say(f"{len(plans)} runs: {complete} complete (skipped), {to_go}")
    elif not left:
        say(f"{plans[0].label}: already complete, skipped")
    if compiled := dict.fromkeys(plan.config.block for plan in left if plan.backend.compiles):
        say(f"compiling {', '.join(compiled)}: tens of seconds before training")


def _conclude(plans: Sequence[Plan], *, quiet: bool) -> None:
    """End a command: what `ditbench compare` prints for its runs, if they are of several blocks."""
    if len({plan.config.block for plan in plans}) < 2:
        return
    from ditbench.report.statistics.compare import compare_groups

    paths = [plan.directory.path for plan in plans]
    comparisons = compare_groups(Runs(directories=paths).load())
    echo()
    print_comparisons(comparisons)
    if not quiet:
        place = shlex.quote(os.path.commonpath(paths))
        echo(f"next: ditbench plot {place} -o curve.png", err=True)


def _failure(failed: list[tuple[Plan, DitbenchError]], runs: int, *, quiet: bool) -> DitbenchError:
    """The error at the end of a command: which runs failed and why, and what to do."""
    first = failed[0][1]
    if runs == 1:
        return first
    if not quiet:  # otherwise nothing was printed since the failures
        by_reason: dict[str, list[str]] = {}
        for plan, error in failed:
            by_reason.setdefault(error.message, []).append(plan.label)
        for reason, labels in by_reason.items():
            note("failed", f"{', '.join(labels)}: {reason}")
    again = "the same command runs only these"
    hint = f"{first.hint}; {again}" if first.hint else again
    return DitbenchError(f"{len(failed)} of {runs} runs failed", hint, EXIT_FAILED)
