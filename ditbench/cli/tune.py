"""`ditbench tune`: a learning rate for each block, by a short sweep on seeds of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench.cli.forecast import tell_forecast
from ditbench.cli.interruption import interruptible
from ditbench.cli.options import Blocks, Format, Output, parse_blocks, parse_seeds
from ditbench.cli.run_options import (
    BatchSize,
    Compile,
    Config,
    Data,
    Device,
    DryRun,
    Flops,
    Model,
    ObjectiveName,
    Precision,
    Preset,
    Quiet,
    Settings,
    Steps,
    Time,
    configure,
    how,
    parse_rates,
    told,
    what,
)
from ditbench.cli.tuned import sweeps_below
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.rundir import TUNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.report.tuning.sweeps import Sweep
    from ditbench.training.plan import Plan

# Far from 0, 1, 2, ..., which comparisons use: they must not use those of a sweep.
FIRST_SEED = 1000
RATES = "1e-4,3e-4,1e-3,3e-3"


def tune(
    block: Blocks,
    lr: Annotated[
        str, what(metavar="X,Y,...", help="The learning rates to try, for each block.")
    ] = RATES,
    budget_fraction: Annotated[
        float, how(metavar="X", help="How much of the budget each run of the sweep gets.")
    ] = 0.2,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="N|1000,1001,...",
            help="`2` tries each rate with seeds 1000 and 1001. Comparisons must not use them.",
        ),
    ] = "1",
    preset: Preset = "digits",
    config: Config = None,
    set_: Settings = None,
    model: Model = None,
    objective: ObjectiveName = None,
    data: Data = None,
    batch_size: BatchSize = None,
    steps: Steps = None,
    flops: Flops = None,
    time: Time = None,
    device: Device = "auto",
    precision: Precision = None,
    compile: Compile = "auto",  # noqa: A002 (the option's name)
    out: Annotated[
        Path, told(metavar="DIR", help=f"Where the sweep goes, into DIR/{TUNING}.")
    ] = Path("results"),
    dry_run: DryRun = False,
    as_json: Annotated[bool, told("--json", help="The same as --format json.")] = False,
    format: Format = None,  # noqa: A002 (the option's name)
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Choose each block's learning rate by a short sweep; `ditbench run --lr tuned` takes it.

    Every block is trained with every rate for a part of the budget and scored once, at the end;
    the rate of the lowest mean FID is chosen. Give the options that the comparison will have. The
    same command again goes on where it stopped; one with other rates or seeds adds to the sweep.
    """
    chosen = _format(output, format, as_json=as_json)
    blocks, rates = parse_blocks(block), parse_rates(lr)
    seed_list = parse_seeds(seeds, FIRST_SEED)
    base = configure(
        preset=preset,
        config=config,
        settings=set_,
        model=model,
        objective=objective,
        data=data,
        batch_size=batch_size,
        steps=steps,
        flops=flops,
        time=time,
        precision=precision,
    )

    from ditbench.training.environment import select_device
    from ditbench.training.sweep import Grid, plan_sweep

    grid = Grid(rates, seed_list, budget_fraction)
    plans = plan_sweep(base, blocks, grid, out, select_device(device), compile)
    if dry_run:
        tell_forecast(plans, as_json=as_json, quiet=quiet)
        return
    failed = _execute(plans, quiet=quiet)
    sweeps = _sweeps_of(plans, out / TUNING)
    _tell(sweeps, chosen, output)
    _must_have_chosen(plans, sweeps, failed)


def _format(output: Path | None, format: str | None, *, as_json: bool) -> str:  # noqa: A002
    """The table's format; what is wrong is refused before anything is trained."""
    from ditbench.report.tables.render import format_of

    if as_json and format not in (None, "json"):
        raise DitbenchError(f"--json and --format {format} are given together", "leave one")
    return format_of(output, "json" if as_json else format)


def _execute(plans: Sequence[Plan], *, quiet: bool) -> list[Plan]:
    """Run what has not ended; returns the runs that say nothing of their rate."""
    from ditbench.training.progress import reporter
    from ditbench.training.sweep import execute_sweep, has_diverged

    diverged = [plan for plan in plans if has_diverged(plan)]
    left = [plan for plan in plans if plan not in diverged and not plan.directory.is_complete()]
    if not quiet:
        complete = len(plans) - len(diverged) - len(left)
        typer.echo(
            f"{len(plans)} runs: {complete} complete and {len(diverged)} diverged (skipped), "
            f"{len(left)} to go",
            err=True,
        )
    with interruptible() as stop, reporter(len(left), quiet=quiet) as on_event:
        return execute_sweep(left, on_event, stop)


def _sweeps_of(plans: Sequence[Plan], place: Path) -> list[Sweep]:
    """What is known of the planned blocks under the planned budget, of earlier sweeps too."""
    from ditbench.report.tuning.sweeps import Budget, task_of

    found = {(sweep.task, sweep.budget): sweep for sweep in sweeps_below(place)}
    keys = dict.fromkeys((task_of(p.config), Budget.of(p.config.budget)) for p in plans)
    return [found[key] for key in keys if key in found]


def _tell(sweeps: Sequence[Sweep], chosen: str, output: Path | None) -> None:
    from ditbench.cli.output import emit_text, print_table
    from ditbench.report.tables.render import render
    from ditbench.report.tuning.table import tuning_columns, tuning_rows
    from ditbench.report.words import sweep_title

    if not sweeps:
        return
    rows = tuning_rows(sweeps)
    columns = tuning_columns(sweeps, for_people=chosen not in ("csv", "json"))
    if chosen == "rich":
        print_table(rows, columns, sweep_title(sweeps[0].budget, sweeps[0].seeds))
    else:
        emit_text(render(rows, columns, chosen), output)


def _must_have_chosen(
    plans: Sequence[Plan], sweeps: Sequence[Sweep], failed: Sequence[Plan]
) -> None:
    """End with exit code 1 where a block has no learning rate now."""
    if failed:
        raise DitbenchError(
            f"{len(failed)} runs failed, the first is {failed[0].label}: they say nothing of their "
            "learning rates",
            "the same command tries them again, once the cause is gone",
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
        if sweep.missing:
            raise _unfinished(plans, sweep)


def _unfinished(plans: Sequence[Plan], sweep: Sweep) -> DitbenchError:
    """Why a run is missing although all that were planned have ended."""
    for plan in plans:
        config = plan.config
        if config.block == sweep.block and (config.train.lr, config.seed) in sweep.missing:
            return DitbenchError(
                f"{plan.directory.path} is complete, but cannot be read",
                "remove that directory: the same command then makes the run anew",
                EXIT_FAILED,
            )
    return DitbenchError(
        f"no rate is chosen for {sweep.block}: an earlier sweep of it has rates or seeds that this "
        "one lacks, and each rate needs each seed",
        f"add --lr {','.join(map(str, sweep.rates))} --seeds {','.join(map(str, sweep.seeds))},",
        EXIT_FAILED,
    )
