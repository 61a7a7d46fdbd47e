import dataclasses

import pytest

from ditbench.errors import EXIT_USAGE, DitbenchError
from ditbench.metrics import create_extractor
from ditbench.metrics.classifiers import DigitsClassifier


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
    assert "metrics.features=inception" in str(caught.value.hint)
