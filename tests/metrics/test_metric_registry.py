import dataclasses

import pytest

from ditbench.errors import EXIT_USAGE, DitbenchError
from ditbench.metrics import create_extractor, find_metrics
from ditbench.metrics.features.classifiers import DigitsClassifier


def test_creates_by_name(digits):
    extractor = create_extractor("digits", digits)
    assert isinstance(extractor, DigitsClassifier)
    assert extractor(digits.images[:3]).features.shape == (3, 64)


def test_unknown_name_offers_the_nearest(digits):
    with pytest.raises(DitbenchError, match="unknown features 'inceptoin'") as caught:
        create_extractor("inceptoin", digits)
    assert caught.value.hint == "did you mean inception?"
    assert caught.value.exit_code == EXIT_USAGE


def test_images_that_do_not_fit(toy_data):
    with pytest.raises(DitbenchError, match="digits features need 8x8x1 images, got 4x4x3"):
        create_extractor("digits", toy_data)


def test_classes_that_do_not_fit(digits):
    names = (*digits.class_names, "eleven")
    with pytest.raises(DitbenchError, match="have 10 classes, the data set has 11") as caught:
        create_extractor("digits", dataclasses.replace(digits, class_names=names))
    assert "--features auto" in str(caught.value.hint)


EXTRA = ["inception_score", "memorization", "fid_infinity"]


def names(metrics):
    return [metric.name for metric in metrics]


def test_default_metrics_and_extra_ones():
    default = ["fid", "kid", "label_accuracy", "precision", "recall", "density", "coverage"]
    assert names(find_metrics()) == default
    assert names(find_metrics(["fid_infinity", "memorization", "kid"])) == [
        *default,
        "memorization",
        "fid_infinity",
    ]
    assert names(find_metrics(EXTRA)) == [*default, *EXTRA]


def test_unknown_metric_offers_the_nearest():
    with pytest.raises(DitbenchError, match="unknown metric 'coverag'") as caught:
        find_metrics(["coverag"])
    assert caught.value.hint == "did you mean coverage?"


def test_a_run_keeps_the_metrics_that_it_began_with():
    kinds = find_metrics(["memorization"], {"fid": 1, "kid": 1, "label_accuracy": 1})
    assert names(kinds) == ["fid", "kid", "label_accuracy"]
    assert [kind.version for kind in kinds] == [1, 1, 1]
    everything = find_metrics(EXTRA)
    assert find_metrics((), {kind.name: kind.version for kind in everything}) == everything


@pytest.mark.parametrize("begun", [{"fid": 1, "kid": 99}, {"elegance": 1}])
def test_a_version_that_is_not_available(begun):
    with pytest.raises(DitbenchError, match=f"of the metric {list(begun)[-1]}, which is not"):
        find_metrics((), begun)
