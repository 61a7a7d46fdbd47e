"""Which metrics a run has, and that a run to be resumed keeps its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_extractor import ToyExtractor

from ditbench.errors import DitbenchError
from ditbench.metrics import extractor_class
from ditbench.metrics.choice import also_of, choose
from ditbench.report.reading.metrics import MetricFacts

ALSO = ["efficientnet-lite0", "dinov2", "dinov2-vits14", "inception"]


def choices(also=(), **options):
    return choose(ToyExtractor, [extractor_class(name) for name in also], **options)


def versions(chosen):
    return {metric.name: metric.version for choice in chosen for metric in choice.metrics}


EVERYTHING = versions(choices(ALSO, held_out=True))


def test_names_and_titles_say_features_and_held_out_images():
    main, held_out, further = choices(ALSO[:1], held_out=True)
    assert [metric.name for metric in main.metrics[:3]] == ["fid", "kid", "label_accuracy"]
    assert [metric.name for metric in held_out.metrics] == ["fid_held_out", "kid_held_out"]
    assert [each.held_out for each in (main, held_out, further)] == [False, True, False]
    assert held_out.metrics[0].title == "FID (held-out)"
    assert further.features == "efficientnet-lite0"
    assert further.metrics[0].name == "fid_efficientnet_lite0"
    assert further.metrics[0].title == "FID (efficientnet-lite0)"
    assert "label_accuracy_efficientnet_lite0" not in versions([further])  # ImageNet's classes


def test_reporting_accepts_every_description():
    for choice in choices(ALSO, held_out=True):
        for metric in choice.metrics:
            MetricFacts(**metric.describe())


def test_an_unknown_extra_metric_offers_the_nearest():
    with pytest.raises(DitbenchError, match="unknown metric 'lable_accuracy'") as caught:
        choices(extra=["lable_accuracy"])
    assert "label_accuracy" in caught.value.hint


@given(st.sets(st.sampled_from(sorted(EVERYTHING)), min_size=1))
def test_what_a_run_began_with_is_chosen_again(names):
    begun = {name: EVERYTHING[name] for name in EVERYTHING if name in names}
    chosen = choices(also_of(begun), held_out=True, begun=begun)
    assert list(versions(chosen).items()) == [
        (name, EVERYTHING[name]) for name in versions(choices(also_of(begun), held_out=True))
        if name in begun
    ]  # fmt: skip
    assert versions(chosen) == begun


def test_metrics_that_are_gone_are_named():
    with pytest.raises(DitbenchError, match=r"not available now: fid_held_out$"):
        choices(begun={"fid": 1, "fid_held_out": 1})
