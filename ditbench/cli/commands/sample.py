"""`ditbench sample`: a grid of images from a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ditbench.amounts import counted
from ditbench.cli.execution.training import interruptible
from ditbench.cli.options.common import argument, option, refuse
from ditbench.cli.options.completion import complete_runs
from ditbench.cli.options.parse import parse_count
from ditbench.cli.options.sampling import Sampled
from ditbench.cli.output.meter import load_torch, meter
from ditbench.cli.output.printing import echo, echo_path, note
from ditbench.errors import DitbenchError, one_line
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    from ditbench.runs.scoring.trained import Opened


def sample(
    run: Annotated[Path | None, argument("RUN",
        "A run directory with a checkpoint.", complete_runs)] = None,
    classes: Annotated[str | None, option("cat,dog|0,1",
        "The classes, one column each, by name or by number from 0. Default: the first "
        "ten.")] = None,
    per_class: Annotated[int | None, option("N",
        "Images per class of a grid. Default: 8.", min=1)] = None,
    export: Annotated[Path | None, option("DIR|FILE.npz",
        "Instead of a grid, write each image: PNGs named after index and class, or an .npz of "
        "arr_0 (uint8, NHWC) and arr_1 (labels). Default: the samples of the run's final score. "
        "The same command again resumes.")] = None,
    count: Annotated[str | None, option("N",
        "How many images to export: 50000 or 50k. Default: as in the run.")] = None,
    cfg_scale: Annotated[float | None, option("X",
        "Guidance scale; 1 is no guidance. Default: as in the run.", min=0)] = None,
    *, options: Sampled,
    seed: Annotated[int | None, option("N",
        "The seed of the noise. Default: as in the run.", min=0)] = None,
    output: Annotated[Path | None, option("FILE",
        "The PNG file of the grid. Default: samples.png.", "--output", "-o")] = None,
) -> None:  # fmt: skip
    """Draw images with the averaged weights of a run: a grid with one column per class.

    --export writes each image to a file of its own instead. --init takes other weights; without
    options they are sampled as in the paper: ddpm, 250 steps, no guidance.
    """
    names = None if classes is None else [part.strip() for part in classes.split(",")]
    settings = {"eval__cfg_scale": cfg_scale, "seed": seed, **options.settings}
    options.check(run)

    grid = Path("samples.png") if output is None else output
    if export is not None:
        refuse("--export", {"--per-class": per_class, "-o": output})
    else:
        refuse("a grid", {"--count": count})
        if grid.suffix.lower() != ".png":
            raise DitbenchError(f"cannot write a grid as '{grid}'", "end -o with .png")
    number = None if count is None else parse_count(count, "--count")
    found = _open(run, settings, options)
    if export is not None:
        _export(found, export, number, names)
    else:
        _grid(found, grid, names, 8 if per_class is None else per_class)


def _open(run: Path | None, settings: dict[str, Any], options: Sampled) -> Opened:
    """The run, or the weights of --init, to sample with these settings."""
    if run is not None:
        RunDirectory(run).check_config()
    load_torch()
    from ditbench.runs.scoring.scored import other_decoder
    from ditbench.runs.scoring.trained import open_run
    from ditbench.runs.scoring.weights import open_weights

    if run is None:
        keys = {key.replace("__", "."): value for key, value in settings.items()}
        return open_weights(options.configure(keys), options.device)
    found = open_run(run, settings, options.device, trust=options.trust)
    if text := other_decoder(found.task):
        note("warning", text)
    return found


def _grid(found: Opened, output: Path, classes: list[str] | None, per_class: int) -> None:
    from ditbench.runs.scoring.sample import sample_grid

    columns = sample_grid(found, output, classes=classes, per_class=per_class)
    echo(one_line(f"columns: {', '.join(columns)}"), err=True)
    echo_path(output)


def _export(found: Opened, path: Path, count: int | None, classes: list[str] | None) -> None:
    from ditbench.runs.scoring.export import export_samples

    with interruptible() as stop, meter() as shown:
        stop.show = lambda activity, done, parts: shown.show(
            activity, done, parts, f"{done}/{parts} passes"
        )
        written, before = export_samples(found, path, count=count, classes=classes, stop=stop)
    echo(counted(written, "image") + ", already complete" * before, err=True)
    echo_path(path)
