import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditbench.data import SOURCES
from ditbench.metrics import extractor_names
from ditbench.report import words
from ditbench.report.figures.panels import title_of
from ditbench.report.reading.groups import groups_of
from ditbench.report.reading.results import load_results
from ditbench.report.reading.run import source_of
from ditbench.report.statistics.compare import compare, compare_groups
from ditbench.report.tables.comparisons import render_comparisons
from ditbench.report.words import note


@pytest.mark.parametrize(
    ("name", "path", "source"),
    [
        ("digits", None, "digits"),
        ("cifar10", None, "cifar10"),
        ("cifar10", "/home/me/torchvision", "cifar10"),
        ("folder", "../shared/data/cifar10-train.zip", "cifar10-train.zip"),
        ("folder", "animals/", "animals"),
        ("folder", "C:\\me\\animals.zip", "animals.zip"),
        ("folder", "/", "folder"),
        ("folder", "..", "folder"),
        ("folder", "a\nerror: forged.zip", "a\\nerror: forged.zip"),
        ("npz", "faces.npz", "faces.npz"),
        ("folder", 3, "folder"),
    ],
)
def test_what_the_images_are_called(name, path, source):
    assert source_of({"data.name": name, "data.path": path}) == source


@given(st.text())
def test_any_path_is_a_short_name_on_one_line(path):
    source = source_of({"data.name": "folder", "data.path": path})
    assert source
    assert source.isprintable()
    assert len(source) <= 43


def test_the_names_are_those_of_the_libraries():
    assert set(words.PUBLISHED) < set(SOURCES)
    assert words.COMMON_FEATURES in extractor_names()


def test_only_common_features_of_a_published_set_have_no_note():
    assert note({"features": "inception", "dataset": "cifar10", "source": "cifar10"}) == ""
    assert note({"features": "inception", "dataset": "folder", "source": "cifar10.zip"})
    assert note({"features": "cifar10", "dataset": "cifar10", "source": "cifar10"})
    assert note({"features": "inception", "dataset": "digits", "source": "digits"})


def test_the_note_names_features_and_images():
    group = {"features": "cifar10", "dataset": "folder", "source": "cifar10-train.zip"}
    assert note(group) == (
        "FID and KID are in cifar10 features, on images of cifar10-train.zip: comparable "
        "between these runs, but not with published FIDs."
    )
    assert "on images of folder:" in note({"features": "x", "dataset": "folder"})
    assert "in several features, on images of several data sets:" in note({})


@pytest.fixture
def of_a_zip(make_run, results):
    for block in ("adaln", "adaln-zero"):
        make_run(block, 0, data__name="folder", data__path="/data/cifar_10.zip")
    return load_results(results)


WORDS = "FID and KID are in digits features, on images of cifar"


@pytest.mark.parametrize(
    ("kind", "line"), [("md", f"- {WORDS}\\_10.zip:"), ("latex", f"% {WORDS}_10.zip:")]
)
def test_it_stands_below_the_table_and_the_sentence_above(of_a_zip, kind, line):
    _, *lines, last = filter(None, render_comparisons([compare(of_a_zip)], kind).splitlines())
    assert "leads with FID-2K" in lines[0]
    assert last.startswith(line)
    assert [text.startswith(line) for text in lines].count(True) == 0


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_what_programs_read_has_it_too(of_a_zip, kind):
    assert WORDS in render_comparisons([compare(of_a_zip)], kind)


def test_published_images_and_features_have_no_note(make_run, results):
    make_run("adaln", 0, data__name="cifar10", metrics__features="inception")
    comparison = compare(load_results(results))
    assert "published" not in " ".join(comparison.notes)
    assert "published" not in render_comparisons([comparison], "md")


def test_headings_and_titles_name_the_file(of_a_zip):
    assert compare(of_a_zip).heading.startswith("cifar_10.zip, 8x8x1, ")
    assert title_of(groups_of(of_a_zip)[0]).startswith("cifar_10.zip 8x8x1")


def test_the_same_images_under_two_names_are_one_data_set(make_run, results):
    make_run("adaln", 0, data__name="folder", data__path="a.zip")
    make_run("adaln", 1, data__name="folder", data__path="b.zip")
    (comparison,) = compare_groups(load_results(results))
    assert comparison.heading.startswith("folder, ")
    assert "on images of folder:" in comparison.notes[-1]


def test_a_forced_ranking_has_its_note(make_run, results):
    make_run("adaln", 0)
    make_run("adaln-zero", 0, data__name="cifar10", metrics__features="inception")
    forced = compare(load_results(results), force=True)
    assert "in several features, on images of several data sets" in forced.notes[-1]
