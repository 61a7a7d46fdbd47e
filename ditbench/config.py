"""The configuration of a run from its layers. Torch-free.

Layers, later ones win: a preset (`presets/*.toml`), a TOML file, `--set section.key=value`, flags.
A layer that names a budget, in whatever unit, replaces the budget of those before it.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from ditbench.errors import DitbenchError, unknown_name
from ditbench.settings import RunConfig, Table, keys, put, validate

__all__ = ["RunConfig", "keys", "load", "presets", "read_toml", "validate"]


def presets() -> list[str]:
    """The names of the presets that come with ditbench."""
    return sorted(
        Path(entry.name).stem
        for entry in files("ditbench").joinpath("presets").iterdir()
        if entry.name.endswith(".toml")
    )


def load(
    preset: str = "digits",
    file: Path | None = None,
    settings: tuple[str, ...] = (),
    overrides: Table | None = None,
) -> RunConfig:
    """Build a configuration from its layers.

    Args:
        preset: a name from `presets()`.
        file: a TOML file whose keys replace the preset's; its own `preset`, if any, is kept.
        settings: `section.key=value` texts; a value is read as TOML, or else as a plain string.
        overrides: dotted keys to values, which replace everything before.

    Raises:
        DitbenchError: unknown preset or key (the nearest names are offered), unreadable or
            malformed file, a value of the wrong type or out of range.
    """
    if preset not in presets():
        raise unknown_name("preset", preset, presets())
    table = tomllib.loads(files("ditbench").joinpath(f"presets/{preset}.toml").read_text("utf-8"))
    table["preset"] = preset
    given = {} if file is None else read_toml(file)
    if given.get("budget"):
        table.pop("budget", None)
    _merge(table, given)
    for layer in (dict(map(_parse_setting, settings)), overrides or {}):
        put(table, layer)
        put(given, layer)
    return _fit_ema(validate(table), given)


def _fit_ema(config: RunConfig, given: Table) -> RunConfig:
    """Lift the preset's bound of the EMA's decay under a budget that is not in steps.

    The average reaches back over a ninth of the updates, the same share of every budget, until the
    bound makes that a fixed number of steps. Where blocks make different numbers of steps, a bound
    would average one over a larger share of its training than another. One that the user names is
    kept.
    """
    if config.budget.steps is not None or "ema_decay" in given.get("train", {}):
        return config
    return config.with_values(train__ema_decay=1.0)


def read_toml(path: Path) -> Table:
    """Parse a TOML file; a DitbenchError names the file and what is wrong with it."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
            raise DitbenchError(f"{path} is a pipe, a socket or a device", "name a file")
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DitbenchError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except RecursionError as error:
        raise DitbenchError(f"{path} is nested too deeply", "https://toml.io") from error
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise DitbenchError(f"{path} is not valid TOML: {error}", "https://toml.io") from error


def _parse_setting(setting: str) -> tuple[str, Any]:
    key, separator, text = setting.partition("=")
    if not separator:
        raise DitbenchError(f"'{setting}' is not a setting", "write --set section.key=value")
    return key.strip(), _parse_value(text.strip())


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except (RecursionError, ValueError) as error:  # thousands of brackets, or of digits
        raise DitbenchError(
            f"'{text[:40]}...' is no value of a setting", "write --set section.key=value"
        ) from error


def _merge(table: Table, other: Table) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            _merge(table[key], value)
        else:
            table[key] = value
