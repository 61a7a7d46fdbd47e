"""`ditbench encode`: images as latents of an autoencoder."""

from __future__ import annotations

import shlex
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated

from ditbench.amounts import counted, file_size
from ditbench.cli.execution.gpus import check_gpus
from ditbench.cli.options.common import DEVICES, argument, option
from ditbench.cli.options.training import Quiet
from ditbench.cli.output.meter import load_torch, meter
from ditbench.cli.output.printing import echo, progress
from ditbench.data.latents import KINDS, MOMENTS
from ditbench.data.pictures.settings import Settings
from ditbench.errors import DitbenchError, one_line, unknown_name

if TYPE_CHECKING:
    from ditbench.data.latents.encode import Encoding

DTYPES = ("float16", "float32")


def encode(
    pictures: Annotated[Path, argument("PICTURES",
        "A folder or zip of images, an .npz, or the name of a data set of torchvision.")],
    output: Annotated[Path, option("DIR",
        "The folder of the latents; it may hold a part of them.", "--output", "-o")],
    vae: Annotated[str, option("PATH|NAME",
        "The autoencoder: a folder that diffusers saved, or its name on Hugging Face.")],
    image_size: Annotated[int, option("N",
        "Both sides of the images, in pixels.", min=1, max=4096)] = 256,
    kind: Annotated[str, option("NAME",
        "What is stored of each posterior: moments (mean and std, from which each use draws) or, "
        "at half the size, its mean or one sample.")] = MOMENTS,
    flip: Annotated[bool, option(None,
        "Encode mirrored images, too, for data.horizontal_flip.", "--flip/--no-flip")] = True,
    dtype: Annotated[str, option("|".join(DTYPES), "The type of the numbers.")] = "float16",
    background: Annotated[str, option("COLOUR",
        "The colour behind transparent pictures.")] = "white",
    max_unreadable: Annotated[float, option("X",
        "The share of unreadable pictures that are skipped.", min=0, max=1)] = 0.01,
    shard_size: Annotated[int, option("N", "Images per file.", min=1)] = 10_000,
    device: Annotated[str, option("NAME", f"Where to encode: {DEVICES}")] = "auto",
    gpus: Annotated[int, option("N", "Divide the images over GPUs of this machine.", min=1)] = 1,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Encode images to latents, which `ditbench run --data DIR` trains on.

    The same command again resumes. Only diffusers' AutoencoderKL is supported: pip install
    "ditbench[latents]". The format of the files, and what the kinds mean, is in docs/latents.md.
    """
    for what, value, known in (("kind", kind, KINDS), ("dtype", dtype, DTYPES)):
        if value not in known:
            raise unknown_name(what, value, known)
    load_torch(quiet=quiet)
    from ditbench.data.io.files import contains
    from ditbench.data.latents import encode as job
    from ditbench.data.latents.pictures import find_images
    from ditbench.data.latents.shards import INDEX
    from ditbench.data.latents.vae import Vae
    from ditbench.data.pictures.prepare import check_background

    say = progress(quiet=quiet)
    check_background(background)
    if contains(pictures, output):
        what = f"{output} is among the pictures"
        raise DitbenchError(what, "write the latents to a folder beside them: -o")
    settings = Settings(image_size, background, max_unreadable=max_unreadable)
    images = find_images(pictures, settings)
    devices = _devices(device, gpus)
    vaes = [Vae.load(vae, each) for each in devices]
    how = job.Settings(image_size, kind, flip, dtype, shard_size)
    work = job.Encoding(images, output, vaes, how)
    if (output / INDEX).is_file() and not work.remaining:
        say(f"{output} is complete")
    else:
        on = devices[0] if len(devices) == 1 else counted(len(devices), "device")
        _run(work, on, quiet=quiet)
    for line in job.notes_of(output):
        echo(one_line(line))
    place = shlex.quote(str(output))
    echo(f"next: ditbench init {place}, then ditbench run; or ditbench run --data {place}")


def _devices(name: str, gpus: int) -> list[str]:
    from ditbench.runs.machine.environment import select_device

    if gpus == 1:
        return [str(select_device(name))]
    check_gpus(gpus, name)
    return [name] * gpus if name == "cpu" else [f"cuda:{number}" for number in range(gpus)]


def _run(work: Encoding, where: str, *, quiet: bool) -> None:
    """Encode what remains, with a meter."""
    shape = "x".join(map(str, work.row))
    total = sum(len(work.numbers(shard)) for shard in work.remaining)
    done, lock = 0, Lock()
    with meter(quiet=quiet) as shown:
        shown.say(
            f"{work.count:,} images of {work.settings.image_size} pixels as {shape} "
            f"{work.settings.dtype} ({work.space.kind}), {file_size(work.nbytes)} in "
            f"{counted(len(work.names), 'file')}, on {where}"
        )
        if work.done:
            shown.say(f"{counted(len(work.done), 'file')} there already")

        def passed(images: int) -> None:
            nonlocal done
            with lock:
                done += images
                shown.show("encoding", done, total, f"{done:,} of {total:,} images")

        work.run(passed)
