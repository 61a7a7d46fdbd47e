import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from matplotlib.path import Path

from ditbench.models.registry import block_names
from ditbench.report.facts import PAPER_ORDER, in_order
from ditbench.report.figures.style import PAPER_BLOCKS, block_style, block_styles, marker_size

OTHERS = ["adaln-single", "u-vit", "in-context-class", "none"]
TWELVE = [*PAPER_BLOCKS, *OTHERS, "film", "mmdit", "mine", "my-own"]


def test_the_papers_blocks_have_styles():
    assert tuple(PAPER_BLOCKS) == PAPER_ORDER


def test_a_title_is_the_name_with_capitals():
    for name in block_names():
        title = block_style(name).label
        assert title != name
        assert title.lower() == name


def test_a_name_cannot_reorder_what_stands_beside_it():
    assert block_style("my\u202eblock").label == "my\\u202eblock"


def test_an_unknown_block_has_its_own_style():
    unknown = block_style("my-own")
    assert unknown == block_style("my-own")
    assert unknown.label == "my-own"
    assert unknown.colour not in {style.colour for style in PAPER_BLOCKS.values()}


def test_the_style_of_a_name_is_the_same_in_every_process():
    code = "from ditbench.report.figures.style import block_style; print(block_style('my-own'))"
    printed = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": "1"},
                             capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert printed == f"{block_style('my-own')}\n"


@pytest.mark.parametrize("names", [[*PAPER_BLOCKS, *OTHERS], block_names()])
def test_known_blocks_have_distinct_colours_and_markers(names):
    styles = [block_style(name) for name in names]
    assert list(block_styles(names).values()) == [block_style(name) for name in in_order(names)]
    assert len({style.colour for style in styles}) == len(names)
    assert len({style.marker for style in styles}) == len(names)


def test_no_two_colours_of_registered_blocks_are_close():
    """By their distance in CIE Lab (1976), computed here."""

    def lab(colour):
        rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        x, y, z = np.cbrt(np.array(to_xyz) @ linear / [0.9505, 1, 1.089])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    places = {name: lab(block_style(name).colour) for name in block_names()}
    for one, two in combinations(places, 2):
        assert np.linalg.norm(places[one] - places[two]) > 25, (one, two)


@pytest.mark.parametrize("count", [12, 30])
def test_any_blocks_differ_by_marker_or_line_and_keep_their_colours(count):
    names = (TWELVE + [f"block-{n}" for n in range(count)])[:count]
    styles = block_styles(names)
    assert list(styles) == in_order(names)
    assert len({(style.marker, style.line) for style in styles.values()}) == count
    if count <= 12:
        assert len({style.marker for style in styles.values()}) == count
    for name, style in styles.items():
        assert (style.label, style.colour) == (block_style(name).label, block_style(name).colour)


@pytest.mark.parametrize("marker", [*"osD^*XPpdh", (6, 1, 0), (3, 1, 0), (5, 0, 180), (8, 1, 0)])
def test_markers_of_one_size_cover_one_area(marker):
    from matplotlib.markers import MarkerStyle

    shape = MarkerStyle(marker)
    outline = shape.get_path().transformed(shape.get_transform().scale(marker_size(marker)))
    at = (np.arange(400) + 0.5) / 100 - 2  # counted on a grid, 0.01 apart
    points = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    assert isinstance(outline, Path)
    assert outline.contains_points(points).mean() * 16 == pytest.approx(1, rel=0.02)
