"""EfficientNet-Lite0: that its features are those of photographs, and where its files are."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as images_of
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression

from ditbench.errors import EXIT_USAGE, DitbenchError
from ditbench.metrics import create_extractor
from ditbench.metrics.features import efficientnet
from ditbench.metrics.features.efficientnet import EfficientNetLite0

SIDE = 85  # pixels of a patch: 5 x 7 of them in a photograph
DAISY, MONASTERY = 985, 663  # ImageNet's classes


@pytest.fixture(scope="module")
def network():
    return EfficientNetLite0()


@pytest.fixture(scope="module")
def photographs():
    """A Chinese temple and a flower, (2, 3, 427, 640) uint8: scikit-learn's two photographs."""
    return torch.from_numpy(np.stack(load_sample_images().images)).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def patches(photographs):
    """Patches (70, 3, SIDE, SIDE), those of one photograph after those of the other."""
    tiles = photographs.unfold(2, SIDE, SIDE).unfold(3, SIDE, SIDE)  # (2, 3, 5, 7, SIDE, SIDE)
    return tiles.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


@pytest.fixture(scope="module")
def features(network, patches):
    """Of the patches, (70, 1280)."""
    return network(patches).features


def frechet(x, y):
    """The Fréchet distance, from the singular values of the product of the centred features."""
    x, y = x.double(), y.double()
    a, b = (each - each.mean(0) for each in (x, y))
    scale = ((len(a) - 1) * (len(b) - 1)) ** 0.5
    root = torch.linalg.svdvals(a @ b.T).sum() / scale
    spread = (a**2).sum() / (len(a) - 1) + (b**2).sum() / (len(b) - 1)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + spread - 2 * root)


def test_its_classes_are_imagenets(network, photographs):
    features, logits = network(images_of.center_crop(photographs, [427, 427]))
    assert features.shape == (2, network.num_features) == (2, 1280)
    assert logits.shape == (2, 1000)
    assert features.dtype == logits.dtype == torch.float32
    best = logits.topk(3).indices.tolist()
    assert MONASTERY in best[0]
    assert DAISY in best[1]


def test_a_linear_probe_separates_what_patches_show(features):
    labels = np.repeat([0, 1], 35)
    probe = LogisticRegression(C=0.1, max_iter=1000).fit(features[::2], labels[::2])
    assert probe.score(features[1::2], labels[1::2]) > 0.95


def test_the_frechet_distance_rises_with_noise_and_with_blur(network, patches, features):
    real, others, half = features[::2], features[1::4], patches[1::4]
    grain = torch.randn(half.shape, generator=torch.Generator().manual_seed(0))
    noisy = [(half + sigma * grain).clamp(0, 255).byte() for sigma in (15, 40)]
    blurred = [images_of.gaussian_blur(half, [9, 9], [sigma, sigma]) for sigma in (1.0, 2.0)]
    for ladder in (noisy, blurred):
        worse = [network(images).features for images in ladder]
        distances = [frechet(real, each) for each in (others, *worse)]
        assert distances == sorted(distances)
        assert distances[-1] > 1.5 * distances[0]


def test_grey_images_are_shown_as_rgb_and_batches_do_not_matter(network, patches, monkeypatch):
    grey = patches[:3, :1]
    features, logits = network(grey)
    monkeypatch.setattr(efficientnet, "BATCH", 2)
    parts, _ = network(grey.repeat(1, 3, 1, 1))
    assert torch.allclose(features, parts, rtol=1e-4, atol=1e-5)
    assert torch.equal(logits, network.net._fc(features))


@pytest.mark.parametrize("package", [efficientnet.ARCHITECTURE, efficientnet.WEIGHTS])
def test_a_missing_package_is_one_line_with_what_to_install(digits, monkeypatch, package):
    found = efficientnet.find_spec
    monkeypatch.setattr(efficientnet, "find_spec", lambda n: None if n == package else found(n))
    monkeypatch.setattr(efficientnet.sysconfig, "get_path", lambda name: "/nowhere")
    with pytest.raises(DitbenchError) as caught:
        create_extractor("efficientnet-lite0", digits)
    assert f"efficientnet-lite0 features need /nowhere/{package}" in caught.value.message
    assert caught.value.hint == "pip install 'ditbench[features]'"
    assert caught.value.exit_code == EXIT_USAGE


def test_other_weights_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"_fc.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(DitbenchError, match="does not hold EfficientNet-Lite0 weights"):
        EfficientNetLite0(path)
