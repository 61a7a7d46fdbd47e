from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from ditbench.errors import EXIT_FAILED, EXIT_USAGE, DitbenchError
from ditbench.metrics.classifiers import DigitsClassifier

if TYPE_CHECKING:
    from pathlib import Path

    from ditbench.data.dataset import ImageDataset


def test_shipped_file_is_small_and_documented(classifier: DigitsClassifier):
    assert DigitsClassifier.weights_file().stat().st_size < 500_000
    assert {"data", "split", "seed", "epochs", "torch"} <= set(classifier.details)


def test_features_and_logits(digits: ImageDataset, classifier: DigitsClassifier):
    features, logits = classifier(digits.images)
    assert features.shape == (1797, classifier.num_features) == (1797, 64)
    assert features.dtype == torch.float32
    assert logits is not None
    assert logits.shape == (1797, 10)


def test_no_feature_is_dead_and_none_dominates(digits: ImageDataset, classifier: DigitsClassifier):
    spread = classifier(digits.images).features.std(0)
    assert spread.min() > 0.2 * spread.median()
    assert spread.max() < 5 * spread.median()


@pytest.mark.parametrize(("shape", "said"), [((3, 32, 32), "32x32x3"), ((1, 8, 9), "8x9x1")])
def test_other_shapes_are_refused(classifier: DigitsClassifier, shape: tuple[int, ...], said: str):
    with pytest.raises(DitbenchError) as caught:
        classifier(torch.zeros(2, *shape, dtype=torch.uint8))
    assert caught.value.message == f"digits features need 8x8x1 images, got {said}"
    assert "--set metrics.features=inception" in str(caught.value.hint)
    assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_damaged_weights(tmp_path: Path, damage: str):
    path = tmp_path / "digits.safetensors"
    if damage != "missing":
        path.write_bytes(
            DigitsClassifier.weights_file().read_bytes()[: 1000 if damage == "cut" else 0]
        )
    with pytest.raises(DitbenchError, match="cannot load the digits features") as caught:
        DigitsClassifier(path)
    assert "install ditbench again" in str(caught.value.hint)
    assert caught.value.exit_code == EXIT_FAILED
    assert "\n" not in caught.value.message
