"""What is said after a verdict, beside what only words decide (test_remark_words.py)."""

import math
import re
from pathlib import Path

import pytest

from ditbench.report.reading.metrics import FIRST_METRICS
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare

REFERENCE = Path(__file__).parents[3] / "results" / "reference"


def test_on_digits_label_accuracy_and_fid_area_name_another_block():
    comparison = compare(load_results(REFERENCE / "pilot" / "digits", "paper"))
    assert comparison.verdict.winner == "adaln-zero"
    assert {
        "By the same rule, label accuracy and FID area name in-context.",
        "adaln-zero has 1.49 times the parameters of in-context and 0.872 times the "
        "multiply-accumulates of cross-attention.",
    } <= set(comparison.notes)


@pytest.fixture
def make(make_run, results):
    """Three seeds of two blocks by their final FIDs, label accuracies and versions of KID."""

    def frame(blocks, kid_versions=(), without=()):
        for block, (fids, accuracies) in blocks.items():
            for seed, (fid, accuracy) in enumerate(zip(fids, accuracies, strict=True)):
                metrics = [metric.model_dump() for metric in FIRST_METRICS]
                metrics[1]["version"] = dict(kid_versions).get(block, 1)
                if (block, seed) in without:
                    del metrics[2]
                make_run(block, seed, (200.0, fid), label_accuracy=accuracy, metrics=metrics)
        return load_results(results)

    return frame


EQUAL = {"adaln": ((8.0, 9.0, 8.5), (0.7, 0.71, 0.72)), "joint": ((8.1, 9.2, 8.3), (0.9, 0.9, 0.9))}
AHEAD = {
    "adaln": ((8.0, 9.0, 8.5), (0.9, 0.91, 0.92)),
    "joint": ((28.1, 29.2, 28), (0.7, 0.7, 0.7)),
}


def test_a_metric_that_names_a_winner_is_said_although_fid_names_none(make):
    comparison = compare(make(EQUAL))
    assert comparison.verdict.winner is None
    assert comparison.verdict.leader == "adaln"
    assert "By the same rule, label accuracy names joint." in comparison.notes


def test_metrics_that_agree_are_not_listed(make):
    comparison = compare(make(AHEAD))
    assert comparison.verdict.winner == "adaln"
    assert "By the same rule" not in " ".join(comparison.notes)


def test_a_metric_that_a_block_lacks_names_nobody(make):
    df = make(EQUAL, without=[("adaln", seed) for seed in range(3)])
    assert "By the same rule" not in " ".join(compare(df).notes)


def test_cells_of_several_versions_are_left_out(make):
    df = make(AHEAD, kid_versions={"joint": 2})
    comparison = compare(df)
    assert comparison.table["kid"].isna().all()
    assert comparison.table["label_accuracy"].notna().all()
    assert "KID left out: computed by different versions." in comparison.notes
    assert df["kid"].notna().all()  # what was given is left as it was


def test_one_version_is_left_in(make):
    comparison = compare(make(AHEAD, kid_versions={"adaln": 2, "joint": 2}))
    assert comparison.table["kid"].notna().all()
    assert "left out" not in " ".join(comparison.notes)


def test_a_block_has_a_mean_only_if_all_its_seeds_have_the_metric(make):
    table = compare(make(AHEAD, without=[("adaln", 1)])).table.set_index("block")
    assert math.isnan(table.loc["adaln", "label_accuracy"])
    assert table.loc["joint", "label_accuracy"] == pytest.approx(0.7)


def test_sizes_within_the_tolerance_are_not_mentioned(make):
    df = make(AHEAD)
    assert "times the parameters" in " ".join(compare(df).notes)
    equal = df.assign(parameters=1000 + 29 * (df["block"] == "joint"), gmacs=1.0)
    assert not re.search(" has |times the", " ".join(compare(equal).notes))
