"""The classifiers whose weights are part of ditbench."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from ditbench.data import load_dataset, loader_of
from ditbench.errors import EXIT_USAGE, DitbenchError
from ditbench.metrics.features.classifiers import METADATA, Cifar10Classifier, DigitsClassifier

TEST_IMAGES = os.environ.get("DITBENCH_CIFAR10_TEST")


@pytest.fixture(scope="module")
def cifar10():
    return Cifar10Classifier()


@pytest.fixture(params=["digits", "cifar10"])
def shipped(request, classifier, cifar10):
    return classifier if request.param == "digits" else cifar10


def some_images(shipped, count):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, *shipped.shape), generator=generator, dtype=torch.uint8)


def test_features_and_logits_of_a_batch_are_those_of_its_images(shipped):
    images = some_images(shipped, 3)
    features, logits = shipped(images)
    assert features.shape == (3, shipped.num_features)
    assert logits.shape == (3, shipped.num_classes) == (3, 10)
    assert features.dtype == torch.float32
    alone = torch.cat([shipped(image[None]).features for image in images])
    assert torch.allclose(features, alone, rtol=1e-4, atol=1e-4)
    assert features.isfinite().all()
    assert logits.isfinite().all()


def test_weights_of_half_precision_are_used_in_float32(cifar10):
    stored = load_file(Cifar10Classifier.weights_file())
    for name, weight in cifar10.net.state_dict().items():
        assert stored[name].dtype == torch.float16
        assert torch.equal(weight, stored[name].float())


def test_another_file_replaces_the_shipped_one(tmp_path, cifar10):
    tensors = {name: 2 * tensor.half() for name, tensor in cifar10.net.state_dict().items()}
    path = tmp_path / "mine.safetensors"
    path.write_bytes(save(tensors, {METADATA: '{"test_accuracy": "0.1"}'}))
    mine = Cifar10Classifier(path)
    assert mine.details == {"test_accuracy": "0.1"}
    assert mine.digest != cifar10.digest


def test_no_feature_is_dead_and_none_dominates(digits, classifier):
    spread = classifier(digits.images).features.std(0)
    assert spread.min() > 0.2 * spread.median()
    assert spread.max() < 5 * spread.median()


@pytest.mark.parametrize("shape", [(3, 28, 8), (1, 8, 9), (1, 32, 32)])
def test_other_shapes_are_refused(shipped, shape):
    with pytest.raises(DitbenchError) as caught:
        shipped(torch.zeros(2, *shape, dtype=torch.uint8))
    given = f"{shape[1]}x{shape[2]}x{shape[0]}"
    wanted = {"digits": "8x8x1", "cifar10": "32x32x3"}[shipped.name]
    assert caught.value.message == f"{shipped.name} features need {wanted} images, got {given}"
    assert "--features auto" in caught.value.hint
    assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize(
    ("kind", "size", "accuracy", "facts"),
    [(DigitsClassifier, 500_000, 0.98, {"split"}),
     (Cifar10Classifier, 6_000_000, 0.93, {"data_sha256", "test_sha256"})],
)  # fmt: skip
def test_a_shipped_file_is_small_documented_and_good(kind, size, accuracy, facts):
    assert kind.weights_file().stat().st_size <= size
    details = kind().details
    assert float(details["test_accuracy"]) >= accuracy
    assert {"data", "seed", "epochs", "torch", "test_images"} | facts <= set(details)


@pytest.mark.slow
@pytest.mark.skipif(TEST_IMAGES is None, reason="DITBENCH_CIFAR10_TEST names no test images")
def test_shipped_weights_have_the_accuracy_that_they_claim(cifar10):
    test = load_dataset(loader_of(Path(str(TEST_IMAGES))), Path(str(TEST_IMAGES)))
    assert test.digest == cifar10.details["test_sha256"]
    right = 0
    for images, labels in zip(test.images.split(500), test.labels.split(500), strict=True):
        right += int((cifar10(images).logits.argmax(1) == labels).sum())
    # Sums of another device may tip an image or two.
    assert right / len(test) == pytest.approx(float(cifar10.details["test_accuracy"]), abs=3e-4)
