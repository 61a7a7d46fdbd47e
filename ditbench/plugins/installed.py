"""Blocks of installed packages: entry points of the group `ditbench.blocks`. Torch-free.

Reading entry points imports nothing of those packages: a broken package breaks only its own blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditbench.errors import DitbenchError
from ditbench.models.registry import is_directory_name, is_own
from ditbench.plugins.external import parse_location

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "ditbench.blocks"


def installed() -> dict[str, list[EntryPoint]]:
    """The entry points by name: more than one where several packages use the same name."""
    from importlib.metadata import entry_points  # tens of milliseconds, for help pages too

    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        others = found.setdefault(point.name, [])
        if point.value not in [other.value for other in others]:  # one package may be found twice
            others.append(point)
    return found


def installed_location(name: str) -> str:
    """The location of an installed block; nothing is imported.

    Raises:
        DitbenchError: several packages use the name, it cannot name a directory, or its entry
            point is not a location.
    """
    points = installed()[name]
    block = f"the block '{name}' of {_packages(points)}"
    if len(points) > 1:
        classes = " or ".join(point.value for point in points)
        raise DitbenchError(f"several packages have {block}", f"pass --block {classes}")
    if not is_directory_name(name):
        raise DitbenchError(f"{block} cannot name a directory", "use letters, digits and .-_")
    try:
        return parse_location(points[0].value)
    except DitbenchError as error:
        raise DitbenchError(f"{block} is broken: {error.message}", error.hint) from error


def package_of(location: str) -> str | None:
    """Name and version of the installed package whose entry point is a location, or None."""
    for points in installed().values():
        for point in points:
            if point.value == location and point.dist:
                return f"{point.dist.name} {point.dist.version}"
    return None


def shadowed() -> list[str]:
    """A warning for each installed block whose name ditbench itself uses."""
    return [
        f"the block '{name}' of {_packages(points)} is ignored: ditbench has a block or group of "
        "that name"
        for name, points in installed().items()
        if is_own(name)
    ]


def _packages(points: list[EntryPoint]) -> str:
    return " and ".join(
        f"package {each.dist.name}" if each.dist else "a package" for each in points
    )
