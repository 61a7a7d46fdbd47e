"""Strategies of installed packages: the entry points of the group `ditbench.blocks`. Torch-free.

Reading them imports nothing of those packages, so that a broken one is found when it is asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ditbench.errors import DitbenchError
from ditbench.models.blocks.outside import Place, parse_place

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "ditbench.blocks"


def is_folder_name(name: str) -> bool:
    """Whether a name can be that of a directory which stays where it is put."""
    return name.isprintable() and re.fullmatch(r"\w[\w.-]*", name) is not None


def installed() -> dict[str, list[EntryPoint]]:
    """By name, what installed packages offer as strategies: one each, unless two packages clash."""
    from importlib.metadata import entry_points  # tens of milliseconds, for help pages too

    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        others = found.setdefault(point.name, [])
        if point.value not in [other.value for other in others]:  # one package may be found twice
            others.append(point)
    return found


def place_of(name: str) -> Place:
    """Where an installed strategy is written; nothing of it is imported.

    Raises:
        DitbenchError: two packages have one of that name, or it is none that can be used.
    """
    points = installed()[name]
    if len(points) > 1:
        raise DitbenchError(
            f"several packages have a strategy '{name}': {packages(points)}",
            f"name its class: {' or '.join(point.value for point in points)}",
        )
    where = f"the strategy '{name}' of {packages(points)}"
    if not is_folder_name(name):
        raise DitbenchError(f"{where} cannot name a directory", "letters, digits and .-_ can")
    try:
        return parse_place(points[0].value)
    except DitbenchError as error:
        raise DitbenchError(f"{where} is broken: {error.message}", error.hint) from error


def package_of(place: Place) -> str | None:
    """The installed package, and its version, that offers what is written at a place; or None."""
    points = [point for points in installed().values() for point in points]
    found = [point.dist for point in points if point.value == str(place) and point.dist]
    return f"{found[0].name} {found[0].version}" if found else None


def packages(points: list[EntryPoint]) -> str:
    """The packages of entry points, in words."""
    return " and ".join(
        f"package {point.dist.name}" if point.dist else "a package" for point in points
    )
