"""The report: what it shows, that it needs nothing from outside, and that names stay text."""

import re
from html.parser import HTMLParser

import pytest

from ditbench.report.html.page import MOST_WHOLE, report_html
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare, compare_groups

BLOCKS = ("in-context", "adaln", "adaln-zero")
NAME = '<img src=x onerror="alert(1)">&{{7*7}}\u202e.zip'


class Page(HTMLParser):
    """The tags of a page with their attributes, its texts, and whether all tags are closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.places, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        self.places.append((tuple(self.open), data))

    def inside(self, tag):
        """The pieces of text inside elements of this name, without spaces around them."""
        pieces = (data.strip() for tags, data in self.places if tag in tags)
        return [piece for piece in pieces if piece]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def write_runs(write, root):
    """Three blocks with clear differences, four seeds, grids of the first."""
    for level, block in zip((9.0, 8.0, 6.0), BLOCKS, strict=True):
        for seed in range(4):
            fid = level * (1 + 0.01 * seed + 0.003 * len(block) * (seed % 2))
            write(root, block, seed, (200.0, 50.0, fid), images=seed == 0)
    return load_results(root)


@pytest.fixture
def runs(writer, results):
    return write_runs(writer, results)


@pytest.fixture(scope="module")
def report(writer, tmp_path_factory):
    """Such runs, and their report: read only."""
    runs = write_runs(writer, tmp_path_factory.mktemp("report"))
    return runs, report_html(runs)


def test_the_answer_comes_first_and_is_that_of_compare(report):
    runs, text = report
    page = Page(text)
    comparison = compare(runs)
    names = [tag for tag, _ in page.tags]
    assert names.count("h1") == 1
    assert names.index("h1") < names.index("table")
    assert comparison.sentence.startswith("adaln-zero wins")
    title, *basis = comparison.sentence.removesuffix(".").split(" (")
    assert page.inside("h1") == [title, f"({basis[-1]}"]
    assert page.inside("title") == [comparison.sentence]
    notes = "".join(comparison.notes).replace("`", "")
    assert "".join(page.inside("li")).replace(" ", "") == notes.replace(" ", "")


def test_rows_are_those_of_compare(report):
    runs, text = report
    first = text[text.index("<tbody>") : text.index("</tbody>")]
    order = re.findall(r'<th scope="row"><i[^>]*></i>([^<]*)</th>', first)
    assert order == compare(runs).table["block"].tolist()
    assert first.count('class="leader"') == 1


def test_every_section_is_there(report):
    page = Page(report[1])
    for title in ("Ranking", "Curves", "Cost", "Samples", "Settings", "Environment"):
        assert title in page.texts
    assert "How to repeat it" in page.text
    assert len(page.all("img")) == len(BLOCKS)
    figures = [each["aria-label"] for each in page.all("svg") if "aria-label" in each]
    assert figures == ["FID along training", "FID against cost"]


def test_nothing_is_loaded_and_nothing_is_executed(report):
    _, text = report
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {t for t, _ in page.tags}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/webp;base64,"))
    assert "://" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_names_stay_text(make_run, results, tmp_path):
    for seed in (0, 1):
        for block in ("adaln", "adaln-zero"):
            make_run(
                block, seed, dataset_digest="e" * 64, data__name="folder", data__path=NAME,
                metrics__features="inception",
            )  # fmt: skip
    text = report_html(load_results(results))
    page = Page(text)
    assert not page.all("img")
    assert NAME.replace("\u202e", "\\u202e") in page.text
    assert "\u202e" not in text


def test_ids_are_unique_and_every_reference_has_its_target(make_run, results):
    for rate in (1e-3, 2e-3):
        for block in ("adaln", "adaln-zero"):
            make_run(block, 0, train__lr=rate)
    text = report_html(load_results(results))
    ids = [each["id"] for _, each in Page(text).tags if "id" in each]
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert set(used) <= set(ids)
    colours = set(re.findall(r"var\((--[\w-]+)\)", text))
    defined = set(re.findall(r"(--[\w-]+):", text[: text.index("</style>")]))
    assert colours <= defined


def test_the_group_with_most_runs_is_first_and_small_ones_are_tables(make_run, results):
    for number in range(MOST_WHOLE + 1):
        for seed in range(1 + number):
            make_run("adaln", seed, train__lr=1e-3 * (1 + number))
    frame = load_results(results)
    text = report_html(frame)
    sections = text.split("<section ")[1:]
    assert len(sections) == MOST_WHOLE + 1
    counts = [int(re.search(r"All (\d+) run", each)[1]) for each in sections]
    assert counts == sorted(counts, reverse=True)
    assert ["Curves" in each for each in sections] == [True] * MOST_WHOLE + [False]
    page = Page(text)
    for comparison in compare_groups(frame):
        assert comparison.heading in page.text


def test_a_later_evaluation_has_no_curve(runs):
    frame = runs[runs["final"]].assign(curve=False, evaluation="cfg2")
    page = Page(report_html(frame))
    assert "Curves" not in page.texts
    assert "Cost" in page.texts


def test_one_run_alone(make_run, results):
    make_run("adaln", 3)
    page = Page(report_html(load_results(results)))
    assert "Only adaln was run" in page.text
    assert "Samples" not in page.texts


def test_a_damaged_grid_is_named(runs, results):
    for grid in results.rglob("samples/*.png"):
        grid.write_bytes(b"no image")
    page = Page(report_html(runs))
    assert "is not a readable image" in page.text
    assert not page.all("img")


def test_skipped_runs_are_named(runs, results):
    runs.attrs["skipped"] = [("results/x", "incomplete: no result.json")]
    assert "incomplete: no result.json" in Page(report_html(runs)).text


def test_equal_runs_give_equal_bytes(report):
    runs, text = report
    assert report_html(runs) == text
