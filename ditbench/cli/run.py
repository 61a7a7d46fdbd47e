"""`ditbench run`: train blocks under one budget and evaluate them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench.cli.options import DEVICES, Blocks, parse_blocks, parse_count, parse_seeds
from ditbench.errors import EXIT_INTERRUPTED
from ditbench.models.sizes import parse_model

if TYPE_CHECKING:
    from ditbench.training.plan import Plan

# The groups of the help page.
_what = partial(typer.Option, rich_help_panel="What is trained")
_how = partial(typer.Option, rich_help_panel="How long, and on what")
_told = partial(typer.Option, rich_help_panel="What is told and written")


def run(
    block: Blocks,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="0,1,...", help="One run each for every block. Default: 0."),
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
        _what(metavar="PATH", help="A folder or zip of class folders of images."),
    ] = None,
    batch_size: Annotated[int | None, _what(metavar="N", help="Images a step.")] = None,
    lr: Annotated[float | None, _what(metavar="X", help="Learning rate after the warm-up.")] = None,
    steps: Annotated[
        str | None, _how(metavar="N", help="The budget in updates: 20000 or 20k.")
    ] = None,
    device: Annotated[str, _how(metavar="NAME", help=DEVICES)] = "auto",
    precision: Annotated[str | None, _how(metavar="NAME", help="auto, fp32 or bf16.")] = None,
    out: Annotated[Path, _told(metavar="DIR", help="Where run directories go.")] = Path("results"),
    dry_run: Annotated[
        bool, _told("--dry-run", help="Tell what would be run, and write nothing.")
    ] = False,
    as_json: Annotated[
        bool, _told("--json", help="Tell results as JSON: a list, one object a run.")
    ] = False,
    quiet: Annotated[bool, _told("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train each block with each seed under one budget, and evaluate it along the way.

    The same command again goes on where it stopped, and skips what is complete. Settings come
    from the preset, then the file of --config, then --set, then the other options; the last wins.
    """
    blocks = parse_blocks(block)
    seed_list = None if seeds is None else parse_seeds(seeds)
    overrides = _overrides(model, data, steps)
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

    plans = plan_all(configs, out, select_device(device))
    if dry_run:
        _tell(plans, as_json=as_json)
    else:
        _execute(plans, as_json=as_json, quiet=quiet)


def _overrides(model: str | None, data: Path | None, steps: str | None) -> dict[str, Any]:
    """The options that stand for other keys than one of their own."""
    overrides: dict[str, Any] = {}
    if model is not None:
        size = parse_model(model)
        overrides |= {f"model.{name}": value for name, value in vars(size).items()}
    if data is not None:
        overrides |= {"data.name": "folder", "data.path": str(data)}
    if steps is not None:
        overrides["budget.steps"] = parse_count(steps, "--steps")
    return overrides


def _tell(plans: list[Plan], *, as_json: bool) -> None:
    """What would be run: nothing is written."""
    rows = [plan.as_dict() for plan in plans]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return

    from ditbench.cli.output import print_rich
    from ditbench.report.tables import Column, decimals, rich_table, significant

    columns = (
        Column("block", "Block"),
        Column("seed", "Seed", str),
        Column("parameters", "Params (M)", significant(3, 1, 1e-6)),
        Column("gmacs", "GMACs", significant(3, 2)),
        Column("steps", "Steps", decimals(0)),
        Column("images", "Images", decimals(0)),
        Column("train_flops", "Training PFLOPs", significant(3, 1, 1e-15)),
        Column("evaluation_steps", "Evaluated at", _first_to_last),
        Column("path", "Run directory"),
    )
    for row in rows:
        row["path"] += " (complete)" if row["complete"] else ""
    first = plans[0]
    title = f"{first.cost.model} on {first.dataset.name} {first.cost.input}, on {first.device}"
    print_rich(rich_table(rows, columns, f"{title}, {first.config.objective.name}"))


def _first_to_last(steps: list[int]) -> str:
    """The first and the last: they are evenly spaced."""
    return " ... ".join(f"{step:,}" for step in dict.fromkeys((steps[0], steps[-1])))


def _execute(plans: list[Plan], *, as_json: bool, quiet: bool) -> None:
    from ditbench.training.progress import reporter, sentence
    from ditbench.training.run import execute

    results = []
    try:
        with reporter(len(plans), quiet=quiet) as on_event:
            for plan in plans:
                result = execute(plan, on_event)
                results.append({**result, "path": str(plan.directory.path)})
                if not as_json:
                    on_event.say(f"{sentence(result)}\n{plan.directory.path}")
    except KeyboardInterrupt:
        typer.echo("interrupted: the same command again goes on from the last evaluation", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(results, indent=2))
