"""`ditbench run`: train blocks under one budget and evaluate them."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ditbench.cli.amounts import parse_budget
from ditbench.cli.options import COMPILE, DEVICES, Blocks, parse_blocks, parse_seeds
from ditbench.errors import EXIT_SIGNAL
from ditbench.models.sizes import parse_model

if TYPE_CHECKING:
    from ditbench.training.plan import Plan
    from ditbench.training.signals import StopRequest

# The groups of the help page.
_what = partial(typer.Option, rich_help_panel="What is trained")
_how = partial(typer.Option, rich_help_panel="How long, and on what")
_told = partial(typer.Option, rich_help_panel="What is told and written")


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
    preset: Annotated[
        str, _what(metavar="NAME", help="The settings that the others replace parts of.")
    ] = "digits",
    config: Annotated[
        Path | None,
        _what(metavar="FILE", help="TOML laid over the preset, such as a run's config.toml."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        _what("--set", metavar="KEY=VALUE", help="Any setting: eval.cfg_scale=4; repeatable."),
    ] = None,
    model: Annotated[
        str | None,
        _what(metavar="SIZE", help="S/4, or 256x8x4/2 (hidden x depth x heads / patch)."),
    ] = None,
    objective: Annotated[str | None, _what(metavar="NAME", help="ddpm or flow.")] = None,
    data: Annotated[
        Path | None,
        _what(
            metavar="PATH", help="A folder or zip of class folders of images, or an .npz of them."
        ),
    ] = None,
    batch_size: Annotated[int | None, _what(metavar="N", help="Images a step.")] = None,
    lr: Annotated[float | None, _what(metavar="X", help="Learning rate after the warm-up.")] = None,
    steps: Annotated[
        str | None, _how(metavar="N", help="The budget in updates: 20000 or 20k.")
    ] = None,
    flops: Annotated[
        str | None,
        _how(
            metavar="N",
            help="The budget in training compute, 3 x 2 x forward MACs x images: 50PF or 5e16. "
            "A cheaper block makes more updates.",
        ),
    ] = None,
    time: Annotated[
        str | None,
        _how(
            metavar="TIME",
            help="The budget in training time, evaluation not counted: 10m, 1h30m or 600 (s).",
        ),
    ] = None,
    device: Annotated[str, _how(metavar="NAME", help=DEVICES)] = "auto",
    precision: Annotated[str | None, _how(metavar="NAME", help="auto, fp32 or bf16.")] = None,
    compile: Annotated[  # noqa: A002 (the option's name)
        str,
        _how(
            metavar="NAME",
            help=f"{COMPILE}; auto: on a CPU, where training outlasts compiling by far.",
        ),
    ] = "auto",
    out: Annotated[Path, _told(metavar="DIR", help="Where run directories go.")] = Path("results"),
    dry_run: Annotated[
        bool,
        _told(
            "--dry-run",
            help="Tell what would be run and, after seconds of calibration, how long it would "
            "take; write nothing.",
        ),
    ] = False,
    as_json: Annotated[
        bool, _told("--json", help="Tell results as JSON: a list, one object a run.")
    ] = False,
    quiet: Annotated[bool, _told("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train each block with each seed under one budget, and evaluate it along the way.

    The same command again goes on where it stopped, and skips what is complete. Settings come
    from the preset, then the file of --config, then --set, then the other options; the last wins.
    The budget is one of --steps, --flops and --time, or else the preset's.
    """
    blocks = parse_blocks(block)
    seed_list = None if seeds is None else parse_seeds(seeds)
    overrides = _overrides(model, data) | parse_budget(steps, flops, time)
    overrides |= {
        "objective.name": objective,
        "train.batch_size": batch_size,
        "train.lr": lr,
        "train.precision": precision,
    }
    given = {key: value for key, value in overrides.items() if value is not None}

    from ditbench.config import load

    base = load(preset, config, tuple(set_ or ()), given)
    configs = [
        base.with_values(block=name, seed=seed)
        for seed in seed_list or [base.seed]
        for name in blocks
    ]

    from ditbench.training.environment import select_device
    from ditbench.training.plan import plan_all

    plans = plan_all(configs, out, select_device(device), compile)
    if dry_run:
        _tell(plans, as_json=as_json, quiet=quiet)
    else:
        _execute(plans, as_json=as_json, quiet=quiet)


def _overrides(model: str | None, data: Path | None) -> dict[str, Any]:
    """The options that stand for other keys than one of their own."""
    overrides: dict[str, Any] = {}
    if model is not None:
        size = parse_model(model)
        overrides |= {f"model.{name}": value for name, value in vars(size).items()}
    if data is not None:
        from ditbench.data import loader_of

        overrides |= {"data.name": loader_of(data), "data.path": str(data)}
    return overrides


def _tell(plans: list[Plan], *, as_json: bool, quiet: bool) -> None:
    """What would be run, and how long it would take: nothing is written."""
    from ditbench.cli.forecast import forecast_table
    from ditbench.cli.output import print_rich
    from ditbench.training.calibrate import forecast

    def say(text: str) -> None:
        if not quiet:
            typer.echo(text, err=True)

    rows = list(forecast(plans, say))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_rich(forecast_table(plans[0], rows))


def _execute(plans: list[Plan], *, as_json: bool, quiet: bool) -> None:
    from ditbench.training.progress import reporter, sentence
    from ditbench.training.run import execute
    from ditbench.training.signals import Stopped, StopRequest, stopping

    if len(plans) > 1 and not quiet:
        complete = sum(run.directory.is_complete() for run in plans)
        left = len(plans) - complete
        typer.echo(f"{len(plans)} runs: {complete} complete (skipped), {left} to go", err=True)
    compiled = list(dict.fromkeys(plan.config.block for plan in plans if plan.compiling.on))
    if compiled and not quiet:
        typer.echo(f"compiling {', '.join(compiled)}: tens of seconds before training", err=True)
    results = []
    stop = StopRequest()
    try:
        with stopping(stop), reporter(len(plans), quiet=quiet) as on_event:
            for plan in plans:
                result = execute(plan, on_event, stop)
                results.append({**result, "path": str(plan.directory.path)})
                if not as_json:
                    on_event.say(f"{sentence(result)}\n{plan.directory.path}")
    except Stopped:
        _leave("saved", stop)
    except KeyboardInterrupt:
        _leave("stopped at once, the last checkpoint stands", stop)
    if as_json:
        typer.echo(json.dumps(results, indent=2))


def _leave(how: str, stop: StopRequest) -> NoReturn:
    """Tell the command that goes on, which is the one that was given; exit as the signal says."""
    typer.echo(f"interrupted, {how}; to go on: {shlex.join(['ditbench', *sys.argv[1:]])}", err=True)
    raise typer.Exit(EXIT_SIGNAL + (stop.number or signal.SIGINT))
