"""Where images are few for FID, KID decides, and both name their features."""

import json
import math

import pytest

from ditbench.few import ENOUGH, OWN_CLASSIFIERS, are_few, few_images
from ditbench.metrics import AUTO, GENERAL, extractor_class, extractor_names
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare
from ditbench.report.tables.columns import comparison_columns
from ditbench.report.tables.comparisons import render_comparisons
from ditbench.report.tables.render import shown
from ditbench.report.words import metric_title

LITE0 = "efficientnet-lite0"


def test_the_names_are_those_of_the_extractors():
    kinds = [extractor_class(name) for name in extractor_names()]
    assert tuple(kind.name for kind in kinds if kind.num_classes is not None) == OWN_CLASSIFIERS
    assert all(extractor_class(name).num_features < ENOUGH for name in GENERAL)
    assert AUTO not in extractor_names()


@pytest.mark.parametrize(
    ("features", "real", "samples", "few"),
    [
        (LITE0, 10_000, 10_000, False),
        (LITE0, 9_999, 50_000, True),
        ("inception", 50_000, 9_999, True),
        (LITE0, math.nan, 10_000, False),
        (LITE0, math.nan, 2_000, True),
        ("digits", 1_797, 1_000, False),
        ("cifar10", 50_000, 2_000, False),
        (None, 10, 10, False),
    ],
)
def test_images_are_few_below_ten_thousand_except_in_own_classifiers(features, real, samples, few):
    assert are_few(features, real, samples) is few


def test_the_words_name_what_is_few():
    assert few_images(LITE0, 180, 2_000).startswith(
        "180 real images and 2,000 samples are few for FID in efficientnet-lite0 features"
    )
    assert few_images("inception", 50_000, 2_000).startswith("2,000 samples are few")
    assert few_images("inception", 9_000, 50_000).startswith("9,000 real images are few")


@pytest.mark.parametrize(
    ("title", "features", "samples", "written"),
    [
        ("FID", "inception", 2_000, "FID-2K"),
        ("FID", "digits", 2_000, "FID-2K"),
        ("FID", LITE0, 2_000, "FID-2K (efficientnet-lite0)"),
        ("KID", "resnet50", None, "KID (resnet50)"),
        ("FID (dinov2)", "inception", 10_000, "FID-10K (dinov2)"),
        ("FID (held-out)", "digits", 2_000, "FID-2K (held-out)"),
        ("Coverage", LITE0, 2_000, "Coverage-2K"),
    ],
)
def test_fid_and_kid_name_general_features_other_than_inceptions(title, features, samples, written):
    assert metric_title(title, features, samples) == written


@pytest.fixture
def conflicting(make_run, results):
    """Runs of two blocks, the first of which is better in FID and the other in KID."""

    def make(**values):
        for seed in range(5):
            for block, fid, kid in (("adaln", 10, 0.004), ("adaln-zero", 20, 0.002)):
                noise = 1 + 0.01 * seed
                make_run(block, seed, (50.0, fid * noise), kid=kid * noise, **values)
        return compare(load_results(results))

    return make


def headers(comparison):
    return [column.header for column in shown(comparison_columns(comparison))]


def test_kid_decides_where_real_images_are_few(conflicting):
    comparison = conflicting(metrics__features=LITE0, real_images=180, eval__samples=10_000)
    assert comparison.decided_by == "kid"
    assert comparison.verdict.winner == "adaln-zero"
    assert comparison.table["block"].tolist() == ["adaln-zero", "adaln"]
    assert comparison.sentence == (
        "adaln-zero wins: KID-10K (efficientnet-lite0) 0.00204, 50% below adaln "
        "(p < 0.001, 5 seeds)."
    )
    assert few_images(LITE0, 180, 10_000) in comparison.notes
    assert "By the same rule, FID and FID area name adaln." in comparison.notes
    assert "would name" not in " ".join(comparison.notes)
    kid, fid = (f"{name}-10K (efficientnet-lite0) ↓" for name in ("KID", "FID"))
    names = headers(comparison)
    assert names.index(kid) + 1 == names.index(fid)
    assert names.count(kid) == 1
    assert "0.00204 ± 0.0000316" in render_comparisons([comparison], "md")
    rows = json.loads(render_comparisons([comparison], "json"))["groups"][0]["rows"]
    assert [row["winner"] for row in rows] == [True, False]
    assert {row["decided_by"] for row in rows} == {"kid"}


@pytest.mark.parametrize(
    "values",
    [
        {"real_images": 180},  # the digits' own classifier
        {"metrics__features": "inception", "real_images": 50_000, "eval__samples": 10_000},
        {"metrics__features": "inception", "eval__samples": 10_000},  # an earlier run
    ],
)
def test_fid_decides_elsewhere(conflicting, values):
    comparison = conflicting(**values)
    assert comparison.decided_by == "fid"
    assert comparison.verdict.winner == "adaln"
    assert "few for FID" not in " ".join(comparison.notes)
    names = headers(comparison)
    assert next(name[:3] for name in names if name[:3] in ("FID", "KID")) == "FID"


def test_a_group_without_kid_is_decided_by_fid_and_says_so(make_run, results):
    for block in ("adaln", "adaln-zero"):
        run = make_run(block, 0, metrics__features=LITE0, real_images=180, schema=1)
        text = run.evaluations.read_text()
        run.evaluations.write_text(text.replace("kid_2k", "other"))
    comparison = compare(load_results(results))
    assert comparison.decided_by == "fid"
    assert "few for FID" in " ".join(comparison.notes)
