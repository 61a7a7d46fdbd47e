"""Build the configuration of a run from its layers. Torch-free."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

from ditbench.config.base import Table
from ditbench.config.schema import RunConfig, check_keys, flatten, is_text, put, validate
from ditbench.errors import DitbenchError, unknown_name
from ditbench.files import read_text

# The form of a `ditbench.toml`. Incremented when keys change their meaning.
SCHEMA = 1
PRESETS = Path(__file__).parent / "presets"


def presets() -> list[str]:
    """The names of the presets that come with ditbench."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load(
    preset: str = "digits",
    file: Path | None = None,
    settings: tuple[str, ...] = (),
    overrides: Table | None = None,
    *,
    base: Table | None = None,
) -> RunConfig:
    """Build a configuration from its layers; later layers override earlier ones.

    A layer that gives a budget, in any unit, replaces the budget of the layers before it.

    Args:
        preset: a name from `presets()`.
        file: a TOML file whose keys replace the preset's, `preset` included.
        settings: `section.key=value`; a value that is not TOML is a plain string.
        overrides: dotted keys and values that replace everything before.
        base: a table in the place of the preset's.

    Raises:
        DitbenchError: an unknown preset or key (the hint offers the nearest names), a file that
            cannot be read or parsed, or a value of the wrong type or out of range.
    """
    table = read_preset(preset) if base is None else deepcopy(base)
    given = {} if file is None else read_settings(file)
    for_steps = "steps" in table.get("budget", {})  # what the EMA of the base was chosen for
    put(table, flatten(given))
    for layer in (parse_settings(settings), overrides or {}):
        put(table, layer)
        put(given, layer)
    config = validate(table)
    if config.budget.steps or not for_steps or "ema_decay" in given.get("train", {}):
        return config
    # Under a budget that is not in steps, the preset's bound of the EMA's decay is lifted. Without
    # it, the average covers about the last ninth of the updates. With it, the average would cover
    # a fixed number of updates, and so a different share of training for each block.
    return config.with_values(train__ema_decay=1.0)


def read_preset(name: str) -> Table:
    """The table of a preset. Raises a DitbenchError for an unknown name."""
    if name not in presets():
        raise unknown_name("preset", name, presets())
    return {**tomllib.loads((PRESETS / f"{name}.toml").read_text("utf-8")), "preset": name}


def preset_summary(name: str) -> str:
    """What a preset is for: the first line of its comment."""
    return (PRESETS / f"{name}.toml").read_text("utf-8").splitlines()[0].removeprefix("# ")


def read_settings(file: Path) -> Table:
    """Parse a file of settings. Keys are checked; `schema`, if there is one, is left out."""
    table = read_toml(file)
    schema = table.pop("schema", SCHEMA)
    if type(schema) is not int or schema != SCHEMA:
        raise DitbenchError(
            f"{file} has schema {schema!r}, this version of ditbench reads {SCHEMA}",
            "use the ditbench that wrote it, or write it anew: `ditbench init PICTURES --force`",
        )
    check_keys(table, file)
    return table


def read_toml(path: Path) -> Table:
    """Parse a TOML file; a DitbenchError that names it if it cannot be read or is not TOML."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe would block
            raise DitbenchError(f"{path} is a pipe, a socket or a device", "name a file")
        return tomllib.loads(read_text(path))
    except OSError as error:
        raise DitbenchError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except RecursionError as error:
        raise DitbenchError(f"{path} is nested too deeply", "https://toml.io") from error
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        hint = "save it as UTF-8" if isinstance(error, UnicodeDecodeError) else "https://toml.io"
        raise DitbenchError(f"{path} is not valid TOML: {error}", hint) from error


def parse_settings(settings: Iterable[str]) -> Table:
    """Texts `section.key=value` as dotted keys and values."""
    return dict(map(_parse_setting, settings))


def _parse_setting(setting: str) -> tuple[str, Any]:
    key, separator, text = (part.strip() for part in setting.partition("="))
    hint = "write --set section.key=value"
    if not (separator and key):
        raise DitbenchError(f"'{setting}' is not a setting", hint)
    try:
        value = tomllib.loads(f"value = {text}")["value"]
        # A folder may be called 2024, a preset 1e3.
        return key, value if isinstance(value, str) or not is_text(key) else text
    except tomllib.TOMLDecodeError:
        return key, text
    except (RecursionError, ValueError) as error:  # thousands of brackets, or of digits
        raise DitbenchError(f"'{text[:40]}...' is not a value of a setting", hint) from error
