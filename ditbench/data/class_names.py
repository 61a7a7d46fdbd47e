"""The order of class folders, classes by name, and the classes of a classifier. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ditbench.data.io.files import MAX_SHOWN, shown
from ditbench.errors import DitbenchError, one_line

_DIGITS = re.compile("([0-9]+)")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def natural(name: str) -> tuple[object, ...]:
    """A key that sorts numbers in names by value: 2 before 10, class9 before class10."""
    parts = _DIGITS.split(name)  # text and digits in turn
    values = [part.lstrip("0") for part in parts[1::2]]
    # A longer number is larger. Not `int`, which refuses numbers of thousands of digits.
    parts[1::2] = [(len(value), value) for value in values]
    return (tuple(parts), name)


def names_of(names: Sequence[str], labels: Sequence[int], where: str) -> tuple[str, ...]:
    """The names of the classes of labels; their numbers, if they have none.

    Raises a DitbenchError if labels are out of range; `where` names them.
    """
    low, high = min(labels), max(labels)
    if not names and high >= len(labels):  # else one label could make a model of any size
        what = f"{where} go up to {high}, but there are only {len(labels)} images"
        raise DitbenchError(what, "number the classes from 0 without gaps, or add class_names")
    names = tuple(names) or tuple(map(str, range(high + 1)))
    if low < 0 or high >= len(names):
        what = f"{where} are {low}..{high}, expected 0..{len(names) - 1}"
        raise DitbenchError(what, "number the classes from 0, one class name each")
    return names


def find_classes(given: Sequence[str], names: Sequence[str]) -> list[int]:
    """The labels of some classes, which are given by name or by label; each once.

    If any class is named by a number, a number is always a name. Raises a DitbenchError for a class
    that is not there; the hint lists them.
    """
    numbered = any(name.isdecimal() for name in names)
    known = {} if numbered else {str(label): label for label in range(len(names))}
    known |= {name: label for label, name in enumerate(names)}
    for text in given:
        if text not in known:
            listed = one_line(", ".join(names), MAX_SHOWN)
            raise DitbenchError(
                f"there is no class '{shown(text)}'",
                f"the classes are {listed}" + f"; or 0 to {len(names) - 1}" * (not numbered),
            )
    return list(dict.fromkeys(known[text] for text in given))


def match_classes(names: Sequence[str], others: Sequence[str]) -> list[int] | None:
    """For each of `names`, the index of the same class in `others`; None if one lacks there.

    Names match without regard to case, hyphens, underscores and spaces; 07 and seven match 7. The
    names 0, 1, 2, ... in this order stand for the others in their order: they are all that a data
    set without names has.
    """
    if list(names) == [str(label) for label in range(len(others))]:
        return list(range(len(others)))
    index = {_simple(other): label for label, other in enumerate(others)}
    found = [index.get(_simple(name)) for name in names]
    labels = [label for label in found if label is not None]
    return labels if len(set(labels)) == len(names) else None


def _simple(name: str) -> str:
    name = re.sub(r"[\s_-]+", "", name.casefold())
    if name in _WORDS:
        return str(_WORDS.index(name))
    return name.lstrip("0") or "0" if name.isdecimal() else name
