"""`ditbench tune`: a learning rate for each block, from a short sweep with seeds of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ditbench.amounts import counted
from ditbench.cli.execution.forecast import print_forecast
from ditbench.cli.execution.gpus import divided
from ditbench.cli.execution.training import (
    at_a_time,
    executing,
    remark_on_scores,
    trackers_of,
    with_features,
    workers_for,
)
from ditbench.cli.options.common import Blocks, Table, how, option, printed, refuse, what
from ditbench.cli.options.parse import parse_blocks, parse_rates, parse_seeds
from ditbench.cli.options.training import DryRun, Quiet, Training
from ditbench.cli.output.meter import load_torch, reading
from ditbench.cli.output.printing import load_sweeps, print_sentence, progress
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.report.words import sweep_title
from ditbench.rundir import TUNING

if TYPE_CHECKING:
    from ditbench.launch.devices import Workers
    from ditbench.report.reading.sweeps import Sweep
    from ditbench.runs.planning.plan import Plan

# Comparisons use seeds 0, 1, 2, ... They must not use those of a sweep.
FIRST_SEED = 1000
RATES = "1e-4,3e-4,1e-3,3e-3"


def tune(
    block: Blocks,
    options: Training,
    lr: Annotated[str, what("X,Y,...", "The learning rates to try for each block.")] = RATES,
    budget_fraction: Annotated[float, how("X",
        "The fraction of the budget that each run of the sweep gets.")] = 0.2,
    seeds: Annotated[str, option("N|1000,1001,...",
        "`2` tries each rate with seeds 1000 and 1001. Comparisons must not use them.")] = "1",
    out: Annotated[Path, printed("DIR", f"The sweep goes into DIR/{TUNING}.")] = Path("results"),
    dry_run: DryRun = False,
    *, table: Table,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Choose a learning rate for each block by a short sweep; `ditbench run --lr tuned` uses it.

    Every block is trained with every rate for a fraction of the budget and scored once, at the end.
    The rate with the lowest mean FID is chosen (KID where images are few for FID). Give the options
    of the later comparison. The same command again resumes where it stopped; with other rates or
    seeds, it extends the sweep.
    """
    if dry_run:
        other = None if table.format == "json" else table.format
        refuse("--dry-run", {"--output": table.output, "--format": other})
    blocks, rates = parse_blocks(block), parse_rates(lr)
    seed_list = parse_seeds(seeds, FIRST_SEED)
    trackers = trackers_of(options)
    say = progress(quiet=quiet)

    load_torch(quiet=quiet)
    from ditbench.runs.machine.environment import select_device
    from ditbench.runs.sweep import plan_sweep

    base = options.configure(say=say, out=out)
    device = select_device(options.device)
    base = with_features(base, out, say)
    with reading(quiet=quiet):
        plans = plan_sweep(
            base, blocks, out, device, rates=rates, seeds=seed_list, fraction=budget_fraction,
            match=options.match, say=say,
        )  # fmt: skip
    plans = [replace(plan, trackers=trackers) for plan in plans]
    workers = workers_for(plans, options)
    if dry_run:
        print_forecast(plans, workers, as_json=table.chosen == "json", quiet=quiet)
        return
    table.check_place()
    plans = divided(plans, options)
    first = plans[0].world.first
    failed = _execute(plans, workers, quiet=quiet or not first)
    if not first:
        return
    sweeps = _sweeps_of(plans, out)
    if sweeps:
        _write(sweeps, table)
        if sweeps[0].few:
            say(f"the lowest mean {sweeps[0].title} is chosen: {sweeps[0].few}")
    _check_chosen(plans, sweeps, failed)


def _sweeps_of(plans: Sequence[Plan], out: Path) -> list[Sweep]:
    """The sweeps of these blocks and this budget, with the runs of earlier commands."""
    from ditbench.report.reading.sweeps import Budget, task_of

    found = {(sweep.task, sweep.budget): sweep for sweep in load_sweeps(out / TUNING)}
    keys = dict.fromkeys((task_of(p.config), Budget.of(p.config.budget)) for p in plans)
    return [found[key] for key in keys if key in found]


def _write(sweeps: Sequence[Sweep], table: Table) -> None:
    """The table of sweeps; on a terminal with remarks below it."""
    from ditbench.report.tables.sweeps import tuning_columns, tuning_row

    columns = tuning_columns(sweeps, for_people=table.chosen not in ("csv", "json"))
    of, rows = sweeps[0], list(map(tuning_row, sweeps))
    if table.chosen == "rich":
        table.write(rows, columns[:-1], sweep_title(of.title, of.budget, of.seeds))
        _print_remarks(rows)
    else:
        table.write(rows, columns)


def _print_remarks(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print each remark once, with its blocks."""
    for remark in dict.fromkeys(row["remark"] for row in rows if row["remark"]):
        blocks = ", ".join(row["block"] for row in rows if row["remark"] == remark)
        print_sentence(f"{blocks}: {remark}")


def _execute(plans: Sequence[Plan], workers: Workers, *, quiet: bool) -> list[Plan]:
    """Execute the runs that are left; returns those that failed without diverging."""
    from ditbench.runs.planning.ready import check_ready
    from ditbench.runs.sweep import has_diverged

    diverged = [plan for plan in plans if has_diverged(plan)]
    left = [plan for plan in plans if plan not in diverged and not plan.directory.is_complete()]
    complete = len(plans) - len(diverged) - len(left)
    progress(quiet=quiet)(
        f"{counted(len(plans), 'run')}: {complete} complete and {len(diverged)} diverged "
        f"(skipped), {len(left)} to go{at_a_time(workers)}"
    )
    check_ready(left)
    remark_on_scores(left)
    failed = []
    with executing(left, workers, quiet=quiet) as (shown, outcomes):
        for plan, outcome in outcomes:
            if isinstance(outcome, DitbenchError):
                shown.failed(plan, outcome)
                if not has_diverged(plan):
                    failed.append(plan)
    return failed


def _check_chosen(plans: Sequence[Plan], sweeps: Sequence[Sweep], failed: Sequence[Plan]) -> None:
    """Raise a DitbenchError with exit code 1 if a block has no learning rate."""
    if failed:
        raise DitbenchError(
            f"{counted(len(failed), 'run')} failed, first {failed[0].label}: not every learning "
            "rate is scored",
            "remove the cause, then repeat the same command",
            EXIT_FAILED,
        )
    if lost := [sweep for sweep in sweeps if not sweep.missing and sweep.best is None]:
        names = ", ".join(sweep.block for sweep in lost)
        raise DitbenchError(
            f"every learning rate diverged: {names}",
            f"try lower ones: --lr {lost[0].rates[0] / 10:.0e},{lost[0].rates[0] / 3:.0e}",
            EXIT_FAILED,
        )
    for sweep in sweeps:
        if sweep.missing:  # although all planned runs have ended
            raise DitbenchError(*_unfinished(plans, sweep), EXIT_FAILED)


def _unfinished(plans: Sequence[Plan], sweep: Sweep) -> tuple[str, str]:
    """Why a sweep has no result for some run, and what to do."""
    for plan in plans:
        config = plan.config
        if config.block == sweep.block and (config.train.lr, config.seed) in sweep.missing:
            return (
                f"{plan.directory.path} is complete, but cannot be read",
                "move that directory away and repeat the same command",
            )
    return (
        f"no rate is chosen for {sweep.block}: each rate needs each seed, and an earlier sweep has "
        "rates or seeds that this one lacks",
        f"add --lr {','.join(map(str, sweep.rates))} --seeds {','.join(map(str, sweep.seeds))},",
    )
