"""Figures inside a page: themed, labelled, with texts as texts."""

import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ditbench.report.html.svg import _DARK_PAGE, colours_in, dark_twin, inline_svg


def draw():
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [1, 2], "o-", color="#0072B2", label="<b> & #d55e00 \u202ex")
    axes.legend()
    return figure


def parsed(svg):
    return ET.fromstring(svg.replace("xlink:href", "href"))


def test_a_figure_is_one_element_with_a_label():
    root = parsed(inline_svg(draw, 'FID "<1>"', "a"))
    assert root.tag == "svg"
    assert root.get("aria-label") == 'FID "<1>"'
    assert root.get("width") is None  # the page decides
    assert root.find(".//metadata") is None


def test_texts_are_texts_and_are_not_themed():
    root = parsed(inline_svg(draw, "label", "a"))
    texts = ["".join(each.itertext()) for each in root.iter("text")]
    assert "<b> & #d55e00 \\u202ex" in texts


def test_every_colour_is_a_variable():
    svg = inline_svg(draw, "label", "a")
    assert "0072b2" in colours_in(svg)
    tags = "".join(re.findall(r"<[^>]*>", svg))
    assert not re.search(r"#[0-9a-f]{6}\b(?!\))(?<!url)", re.sub(r'(?:href="|url\()#\w+', "", tags))


def test_places_keep_ids_apart():
    ids = [set(re.findall(r' id="([^"]+)"', inline_svg(draw, "label", place))) for place in "ab"]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_a_users_style_does_not_matter():
    before = inline_svg(draw, "label", "a")
    with mpl.rc_context({"axes.facecolor": "red", "svg.fonttype": "path"}):
        assert inline_svg(draw, "label", "a") == before


def contrast(colour):
    """By the formula of WCAG 2.2, with matplotlib's parser."""

    def luminance(rgb):
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    page = luminance([channel / 255 for channel in _DARK_PAGE])
    return (luminance(to_rgb(f"#{colour}")) + 0.05) / (page + 0.05)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_colours_are_visible_on_a_dark_page(red, green, blue):
    if max(red, green, blue) - min(red, green, blue) < 10:
        return
    assert contrast(dark_twin(f"{red:02x}{green:02x}{blue:02x}")) >= 4.5 - 0.05  # rounded


@pytest.mark.parametrize(("light", "dark"), [("ffffff", "16181d"), ("000000", "e6e7eb")])
def test_page_and_ink_change_places(light, dark):
    assert dark_twin(light) == dark


def test_a_colour_that_is_light_enough_stays():
    assert dark_twin("e69f00") == "e69f00"
