import pytest

from ditbench.report import remark_words
from ditbench.report.reading.metrics import FIRST_METRICS, MetricFacts

_, KID, ACCURACY = FIRST_METRICS
HELD_OUT = MetricFacts(name="fid_held_out", title="FID (held-out)", direction="lower", format=".2f")
PRECISION = MetricFacts(name="precision", title="Precision", direction="higher", format=".3f")


@pytest.mark.parametrize(
    ("winners", "sentence"),
    [
        ({}, ""),
        ({"joint": [ACCURACY]}, "By the same rule, label accuracy names joint."),
        (
            {"joint": [KID, PRECISION, ACCURACY], "adaln": [HELD_OUT]},
            "By the same rule, KID, precision and label accuracy name joint and FID (held-out) "
            "names adaln.",
        ),
    ],
)
def test_other_winners(winners, sentence):
    assert remark_words.other_winners(winners) == sentence


@pytest.mark.parametrize(
    ("ratios", "sentence"),
    [
        ({}, ""),
        ({"parameters": ("none", 1.5)}, "adaln has 1.50 times the parameters of none."),
        (
            {"parameters": ("none", 12.34), "gmacs": ("joint", 0.5)},
            "adaln has 12.3 times the parameters of none and 0.500 times the multiply-accumulates "
            "of joint.",
        ),
    ],
)
def test_unequal_sizes(ratios, sentence):
    assert remark_words.unequal_sizes("adaln", ratios) == sentence


def test_versions():
    assert remark_words.versions([]) == ""
    assert remark_words.versions([KID]) == "KID left out: computed by different versions."
    both = remark_words.versions([ACCURACY, PRECISION])
    assert both == "Label accuracy and precision left out: computed by different versions."
