"""`./ditbench.toml`, and what the settings of a command start from. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tomli_w

from ditbench.config.base import Table
from ditbench.config.derive import Setting, derive, safe_name
from ditbench.config.load import SCHEMA, presets, read_preset, read_settings
from ditbench.config.schema import flatten, put, validate
from ditbench.config.sections import DataConfig
from ditbench.errors import DitbenchError, printable, together

if TYPE_CHECKING:
    from ditbench.data.pictures.survey import Survey

PROJECT = Path("ditbench.toml")
BY_PATH = ("folder", "npz", "latents")  # values of data.name whose images lie at data.path
# Keys without which a file does not determine a run; those that it lacks are derived.
NEEDED = (
    "model.hidden_size", "model.depth", "model.num_heads", "model.patch_size",
    "train.batch_size", "train.lr", "eval.samples",
)  # fmt: skip


class Base(NamedTuple):
    """The weakest layer of a configuration, and a line that says where it is from, if not known."""

    table: Table
    origin: str | None = None


def find_base(
    preset: str | None, file: Path | None, given: Table, look: Callable[[DataConfig], Survey]
) -> Base:
    """What the settings of a command start from.

    An explicit preset; or `./ditbench.toml`, unless there is a file or other images are given; or
    settings that are derived from the images. Those are also the values of keys that a file lacks.
    The images digits and cifar10 have presets, which are not derived. `given` are dotted keys and
    values that override the base and the file; `look` surveys the images that a section `[data]`
    names. Raises a DitbenchError for a file that cannot be used, or images with which no run can
    start.
    """
    if preset is not None:
        return Base(read_preset(preset))
    own, origin = _project(given) if file is None else Base(read_settings(file))
    start, derived = _of_images(own, given, look)
    if file is None:
        put(start, flatten(own))
    return Base(start, "; ".join(filter(None, (origin, derived))) or None)


def _project(given: Table) -> Base:
    """What `./ditbench.toml` says, if there is one, and for these images."""
    if not PROJECT.exists():
        return Base({})
    own = read_project()
    if other_images(own, given):
        return Base({}, f"./{PROJECT} is not read: it is for other images")
    return Base(own, f"settings: ./{PROJECT}")


def _of_images(own: Table, given: Table, look: Callable[[DataConfig], Survey]) -> Base:
    """The settings of the images' preset, or derived from them if the table `own` needs those."""
    chosen = flatten(own) | given
    data = data_of(chosen)
    pictures = data.path if data.name in BY_PATH else Path(data.name)
    if pictures is None or data.name in presets():
        return Base(read_preset(data.name if data.name in presets() else "digits"))
    if not needs_pictures(own):
        name = pictures.name.removesuffix(".zip").removesuffix(".npz")
        return Base({**read_preset("digits"), "preset": safe_name(name)})
    survey = look(data)
    if survey.problems:
        raise together(survey.problems)
    line = f"settings derived from {survey.images:,} images of {survey.name}"
    return Base(nested(derive(survey, chosen)), line)


def read_project() -> Table:
    """The table of `./ditbench.toml`; a DitbenchError if it is not a valid one."""
    table = read_settings(PROJECT)
    try:
        validate(table)
    except DitbenchError as error:
        raise DitbenchError(f"./{PROJECT}: {error.message}", error.hint) from error
    return table


def data_of(keys: Mapping[str, Any]) -> DataConfig:
    """The section `[data]` of dotted keys, checked: paths and settings are used before the rest."""
    table: Table = {}
    put(table, {key: value for key, value in keys.items() if key.startswith("data.")})
    return validate(table).data


def other_images(table: Table, given: Mapping[str, Any]) -> bool:
    """Whether the given keys name other images than a table."""
    own = flatten(table)
    of_table, chosen = data_of(own), data_of({**own, **given})
    paths = (each.path and each.path.resolve() for each in (of_table, chosen))
    return of_table.name != chosen.name or len({*paths}) > 1


def needs_pictures(table: Table) -> bool:
    """Whether settings have to be derived from the images: keys are missing.

    The config.toml of a run has the digest of its images, and is complete.
    """
    keys = flatten(table)
    return "data.digest" not in keys and not all(key in keys for key in NEEDED)


def nested(settings: Sequence[Setting]) -> Table:
    """Settings as a table."""
    table: Table = {}
    put(table, {key: value for key, value, _ in settings})
    return table


def to_toml(settings: Sequence[Setting], heading: Sequence[str]) -> str:
    """The text of a `ditbench.toml`: settings with their reasons as comments."""
    lines = [f"# {printable(line)}".rstrip() for line in heading]
    lines += ["", f"schema = {SCHEMA}  # the version of this file's form"]
    section = ""
    for key, value, why in settings:
        above, _, name = key.rpartition(".")
        if above != section:
            lines += ["", f"[{above}]"]
            section = above
        line = tomli_w.dumps({name: value}).rstrip()
        lines.append(f"{line}  # {printable(why)}" if why else line)
    return "\n".join(lines) + "\n"
