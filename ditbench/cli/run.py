"""`ditbench run`: train blocks under one budget and evaluate them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench.cli.forecast import tell_forecast
from ditbench.cli.interruption import interruptible
from ditbench.cli.options import Blocks, parse_blocks, parse_seeds
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
    parse_rate,
    told,
    what,
)
from ditbench.cli.tuned import TUNED, TunedRates

if TYPE_CHECKING:
    from ditbench.runs.plan import Plan


def run(
    block: Blocks,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="0,1,...|N",
            help="One run each for every block: `0,1,2` are seeds, `5` is the five seeds 0 to 4, "
            "`7,` is seed 7 alone. Default: seed 0.",
        ),
    ] = None,
    preset: Preset = "digits",
    config: Config = None,
    set_: Settings = None,
    model: Model = None,
    objective: ObjectiveName = None,
    data: Data = None,
    batch_size: BatchSize = None,
    lr: Annotated[
        str | None,
        what(
            metavar="X|tuned",
            help="Learning rate after the warm-up; `tuned`: for each block what `ditbench tune` "
            "chose.",
        ),
    ] = None,
    steps: Steps = None,
    flops: Flops = None,
    time: Time = None,
    device: Device = "auto",
    precision: Precision = None,
    compile: Compile = "auto",  # noqa: A002 (the option's name)
    out: Annotated[Path, told(metavar="DIR", help="Where run directories go.")] = Path("results"),
    dry_run: DryRun = False,
    as_json: Annotated[
        bool, told("--json", help="Tell results as JSON: a list, one object a run.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train each block with each seed under one budget, and evaluate it along the way.

    The same command again goes on where it stopped, and skips what is complete. Settings come
    from the preset, then the file of --config, then --set, then the other options; the last wins.
    The budget is one of --steps, --flops and --time, or else the preset's.
    """
    blocks = parse_blocks(block)
    seed_list = None if seeds is None else parse_seeds(seeds)
    tuned = lr == TUNED
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
        train__lr=None if lr is None or tuned else parse_rate(lr),
    )
    configs = [
        base.with_values(block=name, seed=seed)
        for seed in seed_list or [base.seed]
        for name in blocks
    ]

    from ditbench.runs.environment import select_device
    from ditbench.runs.plan import plan_all

    where = select_device(device)
    if tuned:
        rates = TunedRates(out)
        plans = [rates.note(p) for p in plan_all(configs, out, where, compile, rates)]
        if not quiet:
            typer.echo(rates.sentence(), err=True)
    else:
        plans = plan_all(configs, out, where, compile)
    if dry_run:
        tell_forecast(plans, as_json=as_json, quiet=quiet)
    else:
        _execute(plans, as_json=as_json, quiet=quiet)


def _execute(plans: list[Plan], *, as_json: bool, quiet: bool) -> None:
    from ditbench.runs.progress import reporter, sentence
    from ditbench.runs.run import execute

    if len(plans) > 1 and not quiet:
        complete = sum(run.directory.is_complete() for run in plans)
        left = len(plans) - complete
        typer.echo(f"{len(plans)} runs: {complete} complete (skipped), {left} to go", err=True)
    compiled = list(dict.fromkeys(plan.config.block for plan in plans if plan.compiling.on))
    if compiled and not quiet:
        typer.echo(f"compiling {', '.join(compiled)}: tens of seconds before training", err=True)
    results = []
    with interruptible() as stop, reporter(len(plans), quiet=quiet) as on_event:
        for plan in plans:
            result = execute(plan, on_event, stop)
            results.append({**result, "path": str(plan.directory.path)})
            if not as_json:
                on_event.say(f"{sentence(result)}\n{plan.directory.path}")
    if as_json:
        typer.echo(json.dumps(results, indent=2))
