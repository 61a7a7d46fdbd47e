"""`ditbench init`: look at pictures, and write `ditbench.toml`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ditbench import __version__
from ditbench.amounts import counted, duration
from ditbench.cli.options.common import DEVICES, PICTURES, argument, option
from ditbench.cli.options.training import Quiet, Training
from ditbench.cli.output.meter import load_torch, reading
from ditbench.cli.output.printing import echo, emit_text, note, print_sentence, progress
from ditbench.data import load_dataset
from ditbench.errors import DitbenchError, one_line
from ditbench.models.registry import block_names
from ditbench.models.sizes import parse_model

if TYPE_CHECKING:
    from ditbench.config.derive import Setting
    from ditbench.data.pictures.survey import Survey
    from ditbench.runs.planning.plan import Plan

SEEDS = 5
RESULTS = Path("results")  # the default of `ditbench run`
# A paper's comparison that takes longer than this gets advice.
LONG = 1800.0
SMALLEST = 16  # side of images that advice makes smaller
# What stands in the file before the settings.
WRITTEN = f"Written by ditbench {__version__}: `ditbench init`."
USAGE = (
    "",
    "  ditbench run            the paper's four blocks; --seeds 5 for a verdict",
    "  ditbench compare        the table;  ditbench plot  the curves",
    "",
    "The rules behind the settings: docs/your-images.md. --set section.key=value changes one of",
    "them for one command.",
)


def init(
    pictures: Annotated[Path, argument("PICTURES", PICTURES)],
    image_size: Annotated[int | None, option("N",
        "Both sides of the images. Default: from the pictures.", min=1, max=4096)] = None,
    set_: Annotated[list[str] | None, option("KEY=VALUE",
        "Any setting, written into the file; repeatable.", "--set")] = None,
    device: Annotated[str, option("NAME", f"Where to measure: {DEVICES}")] = "auto",
    force: Annotated[bool, option(None,
        "Replace the ditbench.toml that exists.", "--force")] = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Look at pictures, list every problem, and write the settings for them to ./ditbench.toml.

    `ditbench run` in the same directory uses that file. The settings depend on the pictures alone;
    the rules are in docs/your-images.md. The time of a run is then measured on this machine.
    """
    from ditbench.config.derive import choose, derive
    from ditbench.config.load import parse_settings
    from ditbench.config.project import PROJECT, data_of, to_toml
    from ditbench.data.pictures.survey import survey

    if PROJECT.exists() and not force:
        what = f"./{PROJECT} exists"
        raise DitbenchError(what, "add --force to replace it, or work in another directory")
    _check_place(pictures)
    say = progress(quiet=quiet)
    given = parse_settings(set_ or ())
    if image_size is not None:
        given["data.image_size"] = image_size
    found = survey(pictures, data_of(given).settings)
    facts = describe(found)
    for line in facts if found.images else ():
        print_sentence(one_line(line))
    _refuse(found)
    settings = choose(derive(found, given), given)
    load_torch(quiet=quiet)
    say("reading the pictures")
    with reading(quiet=quiet):
        notes = _read(settings)  # before the file is written: damage is found here
    for line in notes:
        echo(one_line(f"  {line}"))
    settings, missing = choose_features(settings)
    emit_text(to_toml(settings, [WRITTEN, *facts, *notes, *USAGE]), PROJECT)
    print_sentence(f"{PROJECT}: {in_short(settings, latents=found.latents is not None)}")
    if missing is None:
        for line in forecast(device, say):
            print_sentence(line)
    else:  # the file is of use as soon as there are features
        note("warning", f"no run can start yet: {missing.message}")
        note("help", missing.hint or "ditbench features")
    echo(f"next: ditbench run, or ditbench run --seeds {SEEDS}; then ditbench compare")


def _check_place(pictures: Path) -> None:
    """Refuse to work among the pictures, where results would be read as pictures."""
    from ditbench.data.io.files import contains

    if pictures.is_dir() and contains(pictures, RESULTS):
        place = pictures.absolute().resolve()
        raise DitbenchError(
            "this directory is among the pictures, where runs cannot be written",
            f"work beside them: cd {place.parent}, then ditbench init {place.name}",
        )


def _refuse(found: Survey) -> None:
    """List everything that keeps a run from starting, if anything does, and end the command."""
    if not found.problems:
        return
    for line in found.notes:
        echo(one_line(f"  {line}"))
    for problem in found.problems:
        note("failed", problem.message)
        if problem.hint:
            note("help", problem.hint)
    problems = counted(len(found.problems), "problem")
    what = f"{problems} in '{found.name}': nothing is written"
    raise DitbenchError(what, "remove what is listed above, then repeat the command")


def _read(settings: Sequence[Setting]) -> tuple[str, ...]:
    """What is done with the pictures, one line per kind; a DitbenchError if that is impossible, or
    if the settings do not fit the pictures.
    """
    from ditbench.config.load import load
    from ditbench.config.project import nested
    from ditbench.runs.planning.fit import check_images

    config = load(base=nested(settings))
    data = config.data
    dataset = load_dataset(data.name, data.path, data.settings)
    check_images(config, dataset)
    return dataset.notes


def choose_features(settings: list[Setting]) -> tuple[list[Setting], DitbenchError | None]:
    """The settings with the features that this machine has, or why it has none."""
    from ditbench.config.load import load
    from ditbench.config.project import nested
    from ditbench.runs.planning import features

    try:
        name, why = features.choose_features(load(base=nested(settings)), RESULTS)
    except DitbenchError as error:
        return settings, error
    chosen = settings[0]._replace(key="metrics.features", value=name, why=why)
    return [chosen if each.key == chosen.key else each for each in settings], None


def describe(found: Survey) -> list[str]:
    """What a survey found: numbers of images, sizes, classes."""
    held_out = f", {found.held_out:,} held out" if found.held_out else ""
    kind = "RGB" if found.channels == 3 else "grey"
    kind = f"{kind}, {_sizes(found)}" if found.latents is None else _latents(found)
    images = counted(found.images, "image")
    return [f"{found.name}: {images} to train on{held_out}; {kind}", _classes(found)]


def _latents(found: Survey) -> str:
    """What latents are, and of what."""
    width, height = found.common_size or (0, 0)
    copies = "with" if found.flipped else "without"
    return f"latents {found.channels}x{height}x{width} {found.latents}, {copies} mirrored copies"


def _sizes(found: Survey) -> str:
    if found.common_size:
        width, height = found.common_size
        return f"all {width}x{height}"
    sides = sorted({min(size) for size in found.sizes})
    among = f"{sides[0]} to {sides[-1]}, median " if len(sides) > 1 else ""
    return f"{len(found.sizes):,} sizes, the shorter side {among}{found.shorter_side} pixels"


def _classes(found: Survey) -> str:
    if len(found.classes) == 1:
        return "1 class: the model is unconditional"
    names = ", ".join(f"{name} {count:,}" for name, count in found.classes.items())
    return one_line(f"{len(found.classes):,} classes: {names}", 300)


def in_short(settings: Sequence[Setting], *, latents: bool = False) -> str:
    """The main settings in a line."""
    of = {key: value for key, value, _ in settings}
    why = {key: because for key, _, because in settings}
    side = None if latents else of.get("data.image_size")
    model = "x".join(str(of[f"model.{name}"]) for name in ("hidden_size", "depth", "num_heads"))
    parts = [
        f"{side}x{side} pixels" if side else "latents" if latents else "pixels as they are",
        f"model {model}/{of['model.patch_size']} ({why['model.patch_size']})",
        f"batches of {of['train.batch_size']}",
        *(f"{of[key]:,} steps ({why[key]})" for key in ["budget.steps"] if key in of),
        f"{of['metrics.features']} features",
    ]
    return ", ".join(parts)


def forecast(device_name: str, say: Callable[[str], None]) -> list[str]:
    """What one run, and the paper's blocks with several seeds, would take on this machine."""
    from ditbench.runs.machine.environment import select_device
    from ditbench.runs.planning import calibrate
    from ditbench.runs.planning.plan import plan_all

    base, device = Training().configure(), select_device(device_name)
    configs = [base.with_values(block=block) for block in block_names("paper")]
    plans = plan_all(configs, RESULTS, device)
    rows = [row for row in calibrate.forecast(plans, say) if not row["complete"]]
    if not rows:
        return [f"The paper's four blocks are complete for seed 0, in {RESULTS / base.preset}."]
    seconds = [row["expected_total_seconds"] for row in rows]
    if None in seconds:
        return [f"Too large to time on {device}: `ditbench run --dry-run` counts GPU hours."]
    total = sum(seconds) / len(rows) * len(plans) * SEEDS
    first = (
        f"On {device}, by a short calibration: about {duration(max(seconds))} for one block, "
        f"{duration(total)} for the paper's four with {SEEDS} seeds."
    )
    return [first, *(f"  faster: {line}" for line in advice(plans[-1]) if total > LONG)]


def advice(plan: Plan) -> list[str]:
    """What would make a run faster, and the share of the compute that it would leave."""
    from ditbench.config.derive import SCALES
    from ditbench.runs.planning.plan import count_cost

    config, size = plan.config, plan.config.model.size
    P = size.patch_size
    side = None if plan.dataset.latents else config.data.image_size
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
