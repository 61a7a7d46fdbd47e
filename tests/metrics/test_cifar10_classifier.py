from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from ditbench.data import load_dataset, loader_of
from ditbench.errors import EXIT_USAGE, DitbenchError
from ditbench.metrics.classifiers import METADATA, Cifar10Classifier

TEST_IMAGES = os.environ.get("DITBENCH_CIFAR10_TEST")


def some_images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def shipped() -> Cifar10Classifier:
    return Cifar10Classifier()


def test_features_are_float32_of_half_precision_weights(shipped: Cifar10Classifier):
    features, logits = shipped(some_images(3))
    assert features.shape == (3, shipped.num_features) == (3, 256)
    assert features.dtype == torch.float32
    assert logits is not None
    assert logits.shape == (3, 10)
    stored = load_file(Cifar10Classifier.weights_file())
    for name, weight in shipped.net.state_dict().items():
        assert stored[name].dtype == torch.float16
        assert torch.equal(weight, stored[name].float())


def test_another_file_replaces_the_shipped_one(tmp_path: Path, shipped: Cifar10Classifier):
    tensors = {name: 2 * tensor.half() for name, tensor in shipped.net.state_dict().items()}
    path = tmp_path / "mine.safetensors"
    path.write_bytes(save(tensors, {METADATA: '{"test_accuracy": "0.1"}'}))
    mine = Cifar10Classifier(path)
    assert mine.details == {"test_accuracy": "0.1"}
    assert mine.digest != shipped.digest


def test_logits_are_a_linear_map_of_the_features(shipped: Cifar10Classifier):
    features, logits = shipped(some_images(3))
    weights = shipped.net.state_dict()
    expected = features @ weights["logits.weight"].T + weights["logits.bias"]
    assert logits is not None
    assert torch.allclose(logits, expected, atol=1e-5)


def test_a_batch_is_its_images(shipped: Cifar10Classifier):
    images = some_images(3)
    alone = torch.cat([shipped(image[None]).features for image in images])
    assert torch.allclose(shipped(images).features, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shape", "said"), [((1, 32, 32), "32x32x1"), ((3, 28, 32), "28x32x3")])
def test_other_shapes_are_refused(shipped: Cifar10Classifier, shape: tuple[int, ...], said: str):
    with pytest.raises(DitbenchError) as caught:
        shipped(torch.zeros(2, *shape, dtype=torch.uint8))
    assert caught.value.message == f"cifar10 features need 32x32x3 images, got {said}"
    assert "--set metrics.features=inception" in str(caught.value.hint)
    assert caught.value.exit_code == EXIT_USAGE


def test_shipped_file_is_small_documented_and_good(shipped: Cifar10Classifier):
    assert Cifar10Classifier.weights_file().stat().st_size <= 6_000_000
    assert float(shipped.details["test_accuracy"]) >= 0.93
    assert shipped.details["test_images"] == "10000"
    assert {"data", "data_sha256", "test_sha256", "seed", "epochs", "torch"} <= set(shipped.details)
    features, logits = shipped(some_images(8))
    assert features.isfinite().all()
    assert logits is not None
    assert logits.isfinite().all()


@pytest.mark.slow
@pytest.mark.skipif(TEST_IMAGES is None, reason="DITBENCH_CIFAR10_TEST names no test images")
def test_shipped_weights_have_the_accuracy_that_they_claim(shipped: Cifar10Classifier):
    test = load_dataset(loader_of(Path(str(TEST_IMAGES))), Path(str(TEST_IMAGES)))
    assert test.digest == shipped.details["test_sha256"]
    right = 0
    for images, labels in zip(test.images.split(500), test.labels.split(500), strict=True):
        logits = shipped(images).logits
        assert logits is not None
        right += int((logits.argmax(1) == labels).sum())
    # Sums of another device may tip an image or two.
    assert right / len(test) == pytest.approx(float(shipped.details["test_accuracy"]), abs=3e-4)
