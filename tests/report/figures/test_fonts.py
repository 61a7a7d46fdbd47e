"""Names of users in figures: literal, in any script."""

import matplotlib as mpl
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.text import Text

from ditbench.report.figures import fonts
from ditbench.report.figures.curve import curve_figure
from ditbench.report.figures.pareto import pareto_figure
from ditbench.report.figures.samples import samples_figure
from ditbench.report.figures.save import save_figure
from ditbench.report.reading.results import load_results

NAMES = ("ca$$h", "a$b_c$", "_x^{", "[red]<b>&|`*~:dog:")
KINDS = (curve_figure, pareto_figure, samples_figure)
# In the private use areas: no font of a machine that runs the tests has them.
ONE, OTHER = "\U000f1234", "\U000f4321"


@pytest.fixture
def named(make_run, results):
    """Groups of results; the images of each, and one of its blocks, have the same name."""

    def make(*names):
        for n, name in enumerate(names):
            for block in ("adaln-zero", name):
                digest = f"{n}" * 64
                data = {"data__name": "folder", "data__path": name, "data__digest": digest}
                place = f"{n}/{len(block)}"
                make_run(block, images=True, name=place, dataset_digest=digest, **data)
        return load_results(results)

    return make


@pytest.fixture
def font(tmp_path):
    """An installed font with one character that no other has."""
    pen = TTGlyphPen(None)
    for place in ((0, 0), (0, 500), (500, 0)):
        (pen.lineTo if place != (0, 0) else pen.moveTo)(place)
    pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "one"])
    builder.setupCharacterMap({ord(ONE): "one"})
    builder.setupGlyf({".notdef": pen.glyph(), "one": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (600, 0), "one": (600, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Only One", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(tmp_path / "one.ttf")
    manager = font_manager.fontManager
    before = list(manager.ttflist)
    manager.addfont(tmp_path / "one.ttf")
    yield
    manager.ttflist[:] = before
    manager._findfont_cached.cache_clear()


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.parametrize("draw", KINDS)
def test_names_are_literal(named, tmp_path, recwarn, draw):
    runs, drawn, warned = named(*NAMES), [], []
    save_figure(lambda: drawn.append(draw(runs)) or drawn[-1], tmp_path / "a.svg", warned.append)
    (figure,) = drawn
    for name in NAMES:  # of the block, and of the images in the title
        assert name in texts(figure)
        assert any(text.startswith(f"{name} 8x8x1, ") for text in texts(figure))
    assert not any(text.get_parse_math() for text in figure.findobj(Text))
    assert (warned, list(recwarn)) == ([], [])


def test_a_font_that_has_the_glyphs_is_used(named, tmp_path, recwarn, font):
    runs, drawn, warned = named(ONE), [], []
    save_figure(lambda: drawn.append(curve_figure(runs)) or drawn[-1], tmp_path / "a.png",
                warned.append)  # fmt: skip
    assert ONE in texts(drawn[-1])
    family = drawn[-1].findobj(Text)[0].get_fontfamily()
    assert family == ["STIXGeneral", "Only One"]
    assert (warned, list(recwarn)) == ([], [])


@pytest.mark.parametrize("draw", KINDS)
def test_a_character_that_no_font_has_is_replaced_and_said_once(named, tmp_path, recwarn, font,
                                                                draw):  # fmt: skip
    runs, drawn, warned = named(f"a{ONE}{OTHER}"), [], []
    save_figure(lambda: drawn.append(draw(runs)) or drawn[-1], tmp_path / "a.pdf", warned.append)
    assert any(text.startswith(f"a{ONE}?") for text in texts(drawn[-1]))
    assert warned == [r"no installed font has \U000f4321: drawn as ?"]
    assert not list(recwarn)


def test_few_fonts_are_chosen_and_the_last_resort_is_none_of_them():
    assert fonts.families_with(set()) == []
    assert fonts.families_with({OTHER}) == []
    (chosen,) = fonts.families_with({"Ա", "ა"})  # DejaVu Sans comes with matplotlib
    assert chosen.startswith("DejaVu")


def test_the_style_of_a_user_is_not_used_and_not_changed(named, tmp_path):
    runs = named("mine")
    save_figure(lambda: curve_figure(runs), tmp_path / "a.png")
    with mpl.rc_context({"text.usetex": True, "figure.facecolor": "red", "savefig.dpi": 10}):
        save_figure(lambda: curve_figure(runs), tmp_path / "b.png")
        assert mpl.rcParams["text.usetex"]
        assert mpl.rcParams["figure.facecolor"] == "red"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
