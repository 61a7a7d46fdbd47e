import os

import pytest

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.report.figures.curve import curve_figure
from ditbench.report.figures.pareto import pareto_figure
from ditbench.report.figures.samples import samples_figure
from ditbench.report.figures.save import save_figure
from ditbench.report.reading.results import load_results


@pytest.fixture
def runs(make_run, results):
    for seed in (0, 1):
        for block in ("adaln", "adaln-zero"):
            make_run(block, seed, images=True)
    return load_results(results)


MAGIC = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.mark.parametrize(
    ("suffix", "draw"),
    [
        *((suffix, curve_figure) for suffix in MAGIC),
        (".pdf", pareto_figure),
        *((suffix, samples_figure) for suffix in (".png", ".svg")),
    ],
)
def test_the_suffix_selects_the_format_and_equal_data_give_equal_bytes(
    runs, tmp_path, suffix, draw
):
    first, second = tmp_path / f"new/folder/a{suffix}", tmp_path / f"b{suffix.upper()}"
    save_figure(lambda: draw(runs), first)
    save_figure(lambda: draw(runs), second)
    assert first.read_bytes().startswith(MAGIC[suffix])
    assert first.read_bytes() == second.read_bytes()
    assert os.listdir(first.parent) == [first.name]  # noqa: PTH208 - no temporary file is left


@pytest.mark.parametrize("name", ["figure.bmp", "figure"])
def test_an_unknown_suffix_is_refused_before_anything_is_drawn(tmp_path, name):
    with pytest.raises(DitbenchError, match="unknown") as caught:
        save_figure(lambda: pytest.fail("drawn"), tmp_path / name)
    assert ".svg" in caught.value.hint


def test_a_place_that_cannot_be_written_is_an_error(runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DitbenchError, match="cannot write") as caught:
        save_figure(lambda: curve_figure(runs), tmp_path / "file" / "figure.png")
    assert caught.value.exit_code == EXIT_FAILED


@pytest.mark.parametrize("draw", [curve_figure, pareto_figure, samples_figure])
def test_no_runs_are_an_error(runs, draw):
    with pytest.raises(DitbenchError, match="no runs"):
        draw(runs.iloc[:0])
