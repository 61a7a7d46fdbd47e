"""The published numbers in figures; no measured number shares their axes."""

import pytest

from ditbench.report.figures.curve import curve_figure
from ditbench.report.figures.pareto import pareto_figure
from ditbench.report.figures.ranking import ranking_figure
from ditbench.report.figures.style import PAPER_BLOCKS
from ditbench.report.paper import beside
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare

# Peebles & Xie 2022, Table 4, DiT-XL/2 at 400K steps: GMACs, parameters in millions, FID-50K.
TABLE_4 = {
    "in-context": (119.37, 449, 35.24),
    "cross-attention": (137.62, 598, 26.14),
    "adaln": (118.56, 600, 25.21),
    "adaln-zero": (118.64, 675, 19.47),
}
TITLE = "Peebles & Xie 2022, Table 4: DiT-XL/2, ImageNet 256x256, 400K steps"
FID = "FID-50K, Inception features (the paper's)"


@pytest.fixture
def runs(make_run, results):
    for seed in (0, 1):
        make_run("adaln", seed, (90.0, 30.0 + seed))
    return load_results(results)


def _flat(text):
    return text.replace("\n", " ")


@pytest.mark.parametrize("draw", [curve_figure, ranking_figure])
def test_curves_and_rankings_get_a_panel_of_published_fids(runs, draw):
    measured, paper = draw(runs, paper=True).axes
    (alone,) = draw(runs).axes
    assert len(measured.lines) == len(alone.lines)
    assert (measured.get_xlim(), measured.get_ylim()) == (alone.get_xlim(), alone.get_ylim())
    assert _flat(paper.get_title(loc="left")) == TITLE
    assert paper.get_xlabel() == FID
    assert not paper.get_shared_x_axes().joined(measured, paper)
    best_first = sorted(TABLE_4, key=lambda block: TABLE_4[block][-1])
    for row, (line, block) in enumerate(zip(paper.lines, best_first, strict=True)):
        assert line.get_xydata().tolist() == [[TABLE_4[block][-1], row]]
        assert line.get_color() == PAPER_BLOCKS[block].colour
        assert line.get_marker() == PAPER_BLOCKS[block].marker
    assert [text.get_text() for text in paper.texts] == ["19.47", "25.21", "26.14", "35.24"]
    names = [label.get_text() for label in paper.get_yticklabels()]
    assert names == [PAPER_BLOCKS[block].label for block in best_first]


def test_pareto_gets_a_panel_of_published_costs(runs):
    figure = pareto_figure(runs, paper=True)
    *_, cell = figure.subfigs
    (axes,) = cell.axes
    assert _flat(cell.get_suptitle()) == TITLE
    assert _flat(axes.get_ylabel()) == FID
    assert axes.get_xlabel() == "Forward pass (GMACs, the paper's Gflops)"
    drawn = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    assert len(drawn) == 4
    for block, (gmacs, _, fid) in TABLE_4.items():
        assert drawn[PAPER_BLOCKS[block].label].get_xydata().tolist() == [[gmacs, fid]]
    pale = {label for label, line in drawn.items() if line.get_alpha() < 0.5}
    assert pale == {"In-Context", "Cross-Attention"}
    assert {text.get_text() for text in axes.texts} == set(drawn)


LIKE_THE_PAPER = {
    "preset": "imagenet256",
    "model__hidden_size": 1152,
    "model__depth": 28,
    "model__num_heads": 16,
    "objective__name": "ddpm",
    "train__batch_size": 256,
    "budget__steps": 400_000,
    "eval__samples": 50_000,
    "metrics__features": "inception",
    "metrics__real_digest": "a" * 64,
}


@pytest.fixture
def like_the_paper(make_run, results):
    """Runs of two blocks on the paper's task."""
    for block, fid in (("adaln", 26.0), ("adaln-zero", 20.0)):
        make_run(block, 0, (90.0, fid), input_size="32x32x4", **LIKE_THE_PAPER)
    df = load_results(results)
    return df.assign(gmacs=118.6, train_flops=6e9 * 118.6 * 256 * df["step"])  # those of XL/2


def crosses(axes):
    return [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == "x"]


def test_runs_of_the_papers_task_have_its_points_in_their_own_axes(like_the_paper):
    figure = pareto_figure(like_the_paper, paper=True)
    (cell,) = figure.subfigs  # no panel of its own
    by_cost = {axes.get_xlabel(): crosses(axes) for axes in cell.axes}
    costs = "Forward pass (GMACs, the paper's Gflops)"
    assert by_cost.pop(costs) == [(gmacs, fid) for gmacs, _, fid in TABLE_4.values()]
    assert not any(by_cost.values())  # no seconds are published
    (axes,) = curve_figure(like_the_paper, paper=True).axes
    assert crosses(axes) == [(400_000, fid) for *_, fid in TABLE_4.values()]
    (axes,) = curve_figure(like_the_paper, "flops", paper=True).axes
    expected = [6e9 * gmacs * 256 * 400_000 / 1e18 for gmacs, *_ in TABLE_4.values()]
    assert [x for x, _ in crosses(axes)] == pytest.approx(expected)
    assert not crosses(curve_figure(like_the_paper, "time", paper=True).axes[0])
    (axes,) = ranking_figure(like_the_paper, paper=True).axes
    assert crosses(axes) == [(25.21, 1), (19.47, 0)]  # of the blocks that have a row
    assert not crosses(ranking_figure(like_the_paper).axes[0])
    assert not any("published FIDs" in note for note in compare(like_the_paper).notes)


@pytest.mark.parametrize(
    "other",
    [
        {"metrics__real_digest": None},
        {"metrics__features": "resnet50"},
        {"eval__samples": 10_000},
        {"preset": "mine"},
        {"model__patch_size": 3},
        {"eval__cfg_scale": 1.5},
    ],
)
def test_other_runs_have_not(make_run, results, other):
    make_run("adaln", 0, (90.0, 26.0), input_size="32x32x4", **LIKE_THE_PAPER | other)
    assert beside(load_results(results)).empty


def test_of_smaller_models_only_the_papers_block_is_known(make_run, results):
    size = {"model__hidden_size": 384, "model__depth": 12, "model__num_heads": 6}
    make_run("adaln", 0, (90.0, 26.0), input_size="32x32x4", **LIKE_THE_PAPER | size)
    assert beside(load_results(results))["fid"].to_dict() == {"adaln-zero": 68.40}


def test_the_papers_panel_is_there_once_however_many_groups(make_run, results):
    for objective in ("flow", "ddpm"):
        make_run("adaln", 0, objective__name=objective)
    frame = load_results(results)
    assert len(curve_figure(frame, paper=True).axes) == 3
    assert len(pareto_figure(frame, paper=True).axes) == 5
