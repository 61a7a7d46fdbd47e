"""`ditbench init`: look at pictures, and write `ditbench.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench.cli.options import DEVICES, option
from ditbench.cli.output import echo, note, print_sentence, progress
from ditbench.cli.run_options import Quiet
from ditbench.errors import DitbenchError, one_line
from ditbench.models.sizes import parse_model
from ditbench.report.amounts import duration

if TYPE_CHECKING:
    from ditbench.config.derive import Setting
    from ditbench.data.survey import Survey
    from ditbench.runs.plan import Plan

SEEDS = 5
# A paper's comparison that takes longer than this gets advice.
LONG = 1800.0
SMALLEST = 16  # side of images that advice makes smaller


def init(
    pictures: Annotated[
        Path,
        typer.Argument(
            metavar="PICTURES",
            help="A folder or zip of images, an .npz, or the name of a data set of torchvision.",
        ),
    ],
    image_size: Annotated[
        int | None,
        option("N", "Both sides of the images. Default: from the pictures.", min=1, max=4096),
    ] = None,
    device: Annotated[str, option("NAME", f"Where to measure: {DEVICES}")] = "auto",
    force: Annotated[
        bool, option(None, "Replace the ditbench.toml that exists.", "--force")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Look at pictures, list every problem, and write the settings for them to ./ditbench.toml.

    `ditbench run` in the same directory uses that file. The settings depend on the pictures alone;
    the rules are in docs/your-images.md. The time of a run is then measured on this machine.
    """
    from ditbench.config.derive import derive
    from ditbench.config.project import PROJECT, to_toml
    from ditbench.data.survey import survey
    from ditbench.files import write_text

    if PROJECT.exists() and not force:
        raise DitbenchError(
            f"./{PROJECT} exists", "add --force to replace it, or work in another directory"
        )
    found = survey(pictures)
    facts = describe(found)
    for line in facts:
        echo(one_line(line))
    for line in found.notes:
        echo(one_line(f"  {line}"))
    if found.problems:
        for line in found.problems:
            note("failed", line)
        problems = f"{len(found.problems)} problem{'s' if len(found.problems) > 1 else ''}"
        raise DitbenchError(
            f"{problems} in '{found.name}'; no ditbench.toml is written",
            "remove what is listed above, then repeat the command",
        )
    settings = derive(found, {} if image_size is None else {"data.image_size": image_size})
    write_text(PROJECT, to_toml(settings, [*facts, *found.notes, *USAGE]))
    echo(f"{PROJECT}: {in_short(settings)}")
    try:
        for line in forecast(device, quiet=quiet):
            print_sentence(line)
    except DitbenchError as error:  # the file is written, and of use elsewhere
        note("warning", f"no time is measured: {error.message}")
        if error.hint:
            note("help", error.hint)
    echo(f"next: ditbench run, or ditbench run --seeds {SEEDS}; then ditbench compare")


USAGE = (
    "",
    "  ditbench run            the paper's four blocks; --seeds 5 for a verdict",
    "  ditbench compare        the table;  ditbench plot  the curves",
    "",
    "The rules behind the settings: docs/your-images.md. --set section.key=value changes one of",
    "them for one command.",
)


def describe(found: Survey) -> list[str]:
    """What a survey found: numbers of images, sizes, classes."""
    held_out = f", {found.held_out:,} held out" if found.held_out else ""
    colours = "RGB" if found.channels == 3 else "grey"
    return [
        f"{found.name}: {found.images:,} images to train on{held_out}; {colours}, {_sizes(found)}",
        _classes(found),
    ]


def _sizes(found: Survey) -> str:
    if found.common_size:
        width, height = found.common_size
        return f"all {width}x{height}"
    sides = [min(size) for size in found.sizes]
    return (
        f"{len(found.sizes):,} sizes, the shorter side {min(sides)} to {max(sides)} pixels, "
        f"median {found.shorter_side}"
    )


def _classes(found: Survey) -> str:
    if len(found.classes) == 1:
        return "1 class: the model is unconditional"
    names = ", ".join(f"{name} {count:,}" for name, count in found.classes.items())
    return one_line(f"{len(found.classes):,} classes: {names}", 300)


def in_short(settings: Sequence[Setting]) -> str:
    """The main settings in a line."""
    of = {key: value for key, value, _ in settings}
    why = {key: because for key, _, because in settings}
    side = of.get("data.image_size")
    model = "x".join(str(of[f"model.{name}"]) for name in ("hidden_size", "depth", "num_heads"))
    parts = [
        f"{side}x{side} pixels" if side else "pixels as they are",
        f"model {model}/{of['model.patch_size']} ({why['model.patch_size']})",
        f"batches of {of['train.batch_size']}",
        f"{of['budget.steps']:,} steps ({why['budget.steps']})",
        f"{of['metrics.features']} features",
    ]
    return ", ".join(parts)


def forecast(device_name: str, *, quiet: bool) -> list[str]:
    """What one run, and the paper's blocks with several seeds, would take on this machine."""
    from ditbench.cli.run_options import Training
    from ditbench.models.registry import block_names
    from ditbench.runs import calibrate
    from ditbench.runs.plan import plan_all

    options = Training(device=device_name)
    base, device = options.place(options.configure())
    configs = [base.with_values(block=block) for block in block_names("paper")]
    plans = plan_all(configs, Path("results"), device)
    rows = list(calibrate.forecast(plans, progress(quiet=quiet)))
    seconds = [row["expected_total_seconds"] for row in rows if not row["complete"]]
    if not seconds:
        return ["the paper's four blocks are complete for seed 0"]
    total = sum(seconds) / len(seconds) * len(rows) * SEEDS
    lines = [
        f"On {device}, by a short calibration: about {duration(max(seconds))} for one block, "
        f"{duration(total)} for the paper's four with {SEEDS} seeds"
    ]
    if total > LONG:
        lines += [f"  faster: {line}" for line in advice(plans[-1])]
    return lines


def advice(plan: Plan) -> list[str]:
    """What would make a run faster, and the share of the compute that it would leave."""
    from ditbench.config.derive import SCALES
    from ditbench.runs.plan import count_cost

    config, size = plan.config, plan.config.model.size
    P, side = size.patch_size, config.data.image_size
    lines = ["a GPU"] if plan.device.type == "cpu" else []
    changes = {}
    if side and side > SMALLEST and side % (2 * P) == 0:
        # As many tokens as with patches of twice the side.
        changes[f"--image-size {side // 2}"] = {"model__patch_size": 2 * P}
    models = (parse_model(f"{scale.model}/{P}") for scale in SCALES)
    if smaller := [model for model in models if model.hidden_size < size.hidden_size]:
        values = {f"model__{name}": value for name, value in vars(smaller[-1]).items()}
        changes[f"--model {smaller[-1].name}"] = values
    for change, values in changes.items():
        other = count_cost(replace(plan, config=config.with_values(**values)))
        share = other.train_flops_per_image / plan.cost.train_flops_per_image
        lines.append(f"{change}: about {share:.0%} of the compute per image")
    return lines
