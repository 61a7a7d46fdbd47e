"""torchvision's classifiers with weights that the test makes: random, of the right shapes."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor
from toy_extractor import random_images

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics import create_extractor
from ditbench.metrics.features.imagenet import EfficientNetB0, ResNet18, ResNet50, ResNet50First

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def random_network(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return get_model(kind.architecture, weights=None).eval()


def prepared(images, mode):
    """The whole image at 224x224, in whole grey values, normalized."""
    pixels = F.interpolate(images.float(), (224, 224), mode=mode, antialias=True)
    pixels = pixels.clamp(0, 255).round() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


@pytest.mark.parametrize(("kind", "mode"), [(ResNet18, "bilinear"), (EfficientNetB0, "bicubic")])
def test_features_are_what_enters_the_last_layer(hub, digits, kind, mode):
    peer, images = random_network(kind), random_images(3, 20)
    before = torch.random.get_rng_state()
    hub.mkdir(parents=True)
    torch.save(peer.state_dict(), kind.weights_file())
    extractor = create_extractor(kind.name, digits)
    features, logits = extractor(images)
    assert torch.equal(torch.random.get_rng_state(), before)
    pixels = prepared(images, mode)
    with torch.no_grad():
        expected = create_feature_extractor(peer, {"flatten": "features"})(pixels)["features"]
        assert torch.allclose(features, expected, rtol=1e-3, atol=1e-4)
        assert torch.allclose(logits, peer(pixels), rtol=1e-3, atol=1e-4)
    assert features.shape == (3, kind.num_features)
    assert extractor.details["weights"] == kind.weights_file().name
    grey = images[:, :1]
    assert torch.equal(extractor(grey).features, extractor(grey.repeat(1, 3, 1, 1)).features)


def test_nothing_is_cropped(hub):
    """A change at the border of an image changes its features."""
    peer = random_network(ResNet18)
    hub.mkdir(parents=True)
    torch.save(peer.state_dict(), ResNet18.weights_file())
    images = random_images(1, 64)
    changed = images.clone()
    changed[..., 0] = 255 - changed[..., 0]
    extractor = ResNet18()
    assert not torch.allclose(extractor(images).features, extractor(changed).features, atol=1e-4)


@pytest.mark.parametrize("kind", [ResNet50, ResNet50First, EfficientNetB0, ResNet18])
def test_the_weights_are_those_that_torchvision_publishes(kind):
    assert kind.url == kind.published().url
    assert kind.weights_file().name == kind.url.rpartition("/")[2]


def test_offline_the_hint_is_the_command_that_fetches_the_weights(hub, digits):
    with pytest.raises(DitbenchError, match="no torchvision's ResNet-18 weights") as caught:
        create_extractor("resnet18", digits)
    file, url = hub / "resnet18-f37072fd.pth", ResNet18.url
    assert caught.value.hint == f"curl -L --create-dirs -o {file} {url}"
    assert caught.value.exit_code == EXIT_FAILED


def test_a_download_has_to_have_the_published_hash(hub, monkeypatch):
    asked = []

    def download(url, target, sha, progress):
        asked.append((url, target, sha))
        torch.save(random_network(ResNet18).state_dict(), target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    ResNet18()
    path = str(hub / "resnet18-f37072fd.pth")
    assert asked == [(ResNet18.url, path, "f37072fd")]


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(DitbenchError, match="does not hold torchvision's ResNet-18 weights"):
        ResNet18(path)
