"""Fonts for names of users, in any script."""

from __future__ import annotations

from collections.abc import Set

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

REPLACEMENT = "?"


def missing_characters(figure: Figure) -> set[str]:
    """The characters of a figure's texts for which no font in use has a glyph."""
    texts: list[Text] = figure.findobj(Text)
    used = {character for text in texts for character in text.get_text()} - {"\n"}
    files = [font_manager.findfont(family) for family in mpl.rcParams["font.family"]]
    return used.difference(*(_glyphs(file, used) for file in files))


def families_with(characters: Set[str]) -> list[str]:
    """Names of installed fonts that have glyphs for these characters, as few as possible."""
    files: dict[str, str] = {}
    for font in font_manager.fontManager.ttflist:
        if font.style == "normal" and font.weight == 400 and "Last Resort" not in font.name:
            files.setdefault(font.name, font.fname)
    glyphs = {name: _glyphs(files[name], characters) for name in sorted(files)}
    chosen: list[str] = []
    while any(glyphs.values()):
        chosen.append(max(glyphs, key=lambda each: len(glyphs[each])))
        glyphs = {name: each - glyphs[chosen[-1]] for name, each in glyphs.items()}
    return chosen


def replace(figure: Figure, characters: Set[str]) -> None:
    """Replace characters in all texts of a figure."""
    table = str.maketrans(dict.fromkeys(characters, REPLACEMENT))
    for text in figure.findobj(Text):
        text.set_text(text.get_text().translate(table))


def _glyphs(file: str, characters: Set[str]) -> set[str]:
    """Those of some characters that a font file has."""
    try:
        font = font_manager.get_font(file)
    except (OSError, RuntimeError):  # removed since the list of fonts was made, or damaged
        return set()
    return {each for each in characters if font.get_char_index(ord(each))}
