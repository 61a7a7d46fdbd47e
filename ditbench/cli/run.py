"""`ditbench run`: train blocks under one budget and evaluate them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench.cli.forecast import print_forecast
from ditbench.cli.interruption import interruptible
from ditbench.cli.options import Blocks, parse_blocks, parse_seeds
from ditbench.cli.run_options import (
    DryRun,
    Quiet,
    Training,
    output,
    parse_rate,
    takes,
    what,
)
from ditbench.cli.tuned import TUNED, TunedRates

if TYPE_CHECKING:
    from ditbench.runs.plan import Plan


@takes(Training)
def run(
    block: Blocks,
    options: Training,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="0,1,...|N",
            help="One run per block and seed: `0,1,2` are seeds, `5` is the five seeds 0 to 4, "
            "`7,` is seed 7 only. Default: seed 0.",
        ),
    ] = None,
    lr: Annotated[
        str | None,
        what(
            metavar="X|tuned",
            help="Learning rate after the warm-up; `tuned`: the rate that `ditbench tune` chose "
            "for each block.",
        ),
    ] = None,
    out: Annotated[Path, output(metavar="DIR", help="Where run directories go.")] = Path("results"),
    dry_run: DryRun = False,
    as_json: Annotated[
        bool, output("--json", help="Print results as JSON: a list, one object per run.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train each block with each seed under one budget, and evaluate it along the way.

    The same command again resumes where it stopped, and skips complete runs. Settings come
    from the preset, then the file of --config, then --set, then the other options; the last wins.
    The budget is one of --steps, --flops and --time, or the budget of the preset.
    """
    blocks = parse_blocks(block)
    seed_list = None if seeds is None else parse_seeds(seeds)
    tuned = lr == TUNED
    base = options.configure(lr=None if lr is None or tuned else parse_rate(lr))
    base, device = options.place(base)
    configs = [
        base.with_values(block=name, seed=seed)
        for seed in seed_list or [base.seed]
        for name in blocks
    ]

    from ditbench.runs.plan import plan_all

    if tuned:
        rates = TunedRates(out)
        plans = [rates.note(plan) for plan in plan_all(configs, out, device, rates)]
        if not quiet:
            typer.echo(rates.sentence(), err=True)
    else:
        plans = plan_all(configs, out, device)
    if dry_run:
        print_forecast(plans, as_json=as_json, quiet=quiet)
    else:
        _execute(plans, as_json=as_json, quiet=quiet)


def _execute(plans: list[Plan], *, as_json: bool, quiet: bool) -> None:
    from ditbench.runs.progress import reporter, sentence
    from ditbench.runs.run import execute

    left = [plan for plan in plans if not plan.directory.is_complete()]
    if len(plans) > 1 and not quiet:
        complete = len(plans) - len(left)
        typer.echo(f"{len(plans)} runs: {complete} complete (skipped), {len(left)} to go", err=True)
    compiled = dict.fromkeys(plan.config.block for plan in left if plan.backend.compiles)
    if compiled and not quiet:
        typer.echo(f"compiling {', '.join(compiled)}: tens of seconds before training", err=True)
    results = []
    with interruptible() as stop, reporter(len(plans), quiet=quiet) as progress:
        for plan in plans:
            result = execute(plan, progress, stop)
            results.append({**result, "path": str(plan.directory.path)})
            if not as_json:
                progress.say(f"{sentence(result)}\n{plan.directory.path}")
    if as_json:
        typer.echo(json.dumps(results, indent=2))
