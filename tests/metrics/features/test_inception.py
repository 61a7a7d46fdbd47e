"""Inception-v3 with weights that the test makes: random, but of the right names and shapes."""

import os

import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import (
    URL_INCEPTION_V3,
    FeatureExtractorInceptionV3,
)
from torchmetrics.image.fid import NoTrainInceptionV3
from toy_extractor import random_images

from ditbench.errors import EXIT_FAILED, EXIT_USAGE, DitbenchError
from ditbench.metrics import create_extractor
from ditbench.metrics.features import inception
from ditbench.metrics.features.inception import InceptionV3

FILE_NAME = "weights-inception-2015-12-05-6726825d.pth"


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file of random weights; the peer's own class is what makes it."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = FeatureExtractorInceptionV3
        patch.setattr(base, "load_state_dict", lambda self, state: None)
        name = "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url"
        patch.setattr(name, lambda *args, **kwargs: {})
        state = base("inception-v3-compat", ["2048"]).state_dict()
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def network(weights):
    return InceptionV3(weights)


def distance(x, y):
    """Relative: the features of random weights are tiny."""
    return float((x - y).norm() / y.norm())


def test_features_are_torch_fidelitys_and_not_antialiased(network, weights):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (1, 3, 450, 450), generator=generator, dtype=torch.uint8)
    features, logits = network(images)
    assert features.shape == (1, network.num_features) == (1, 2048)
    assert features.dtype == torch.float32
    assert logits.shape == (1, 1008)
    with torch.random.fork_rng(devices=[]):
        layers = ["2048", "logits_unbiased"]
        peer = FeatureExtractorInceptionV3("inception-v3-compat", layers, str(weights))
        smooth = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(weights), antialias=True)
    expected, unbiased = peer(images)
    assert distance(features, expected) < 1e-5
    assert distance(logits, unbiased) < 1e-5
    assert distance(features, smooth(images)) > 0.05
    assert "antialias=False" in network.details["resize"]


def test_grey_images_are_shown_as_rgb(network):
    grey = random_images(2, 1)[:, :1]
    assert torch.equal(network(grey).features, network(grey.repeat(1, 3, 1, 1)).features)


def test_four_channels_are_refused(network):
    with pytest.raises(DitbenchError, match="grey or RGB images, got 4 channels"):
        network(torch.zeros(1, 4, 8, 8, dtype=torch.uint8))


def test_given_weights_reach_it_through_the_registry(weights, network, digits):
    extractor = create_extractor("inception", digits, weights)
    assert extractor.digest == network.digest
    assert extractor.num_classes is None
    assert extractor.details["weights"] == "random.pth"


def test_weights_in_torchs_cache_are_found(hub, weights, network):
    hub.mkdir(parents=True)
    os.link(weights, hub / FILE_NAME)
    assert InceptionV3().digest == network.digest


def test_offline_the_error_says_which_file_from_where_to_where(hub, digits):
    with pytest.raises(DitbenchError) as caught:
        create_extractor("inception", digits)
    error = caught.value
    assert error.exit_code == EXIT_FAILED
    assert URL_INCEPTION_V3 in error.message
    assert "Name or service not known" in error.message
    hint = str(error.hint)
    assert FILE_NAME in hint
    assert str(hub) in hint
    assert "--set metrics.inception_weights=PATH" in hint
    assert list(hub.iterdir()) == []


def test_a_download_is_kept_where_torch_fidelity_looks(hub, weights, monkeypatch):
    asked = []

    def download(url, target, sha, progress):
        asked.append((url, sha))
        os.link(weights, target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    InceptionV3()
    assert asked == [(URL_INCEPTION_V3, "6726825d")]
    assert (hub / FILE_NAME).is_file()


def test_cache_that_cannot_be_made(hub):
    hub.parent.parent.joinpath("hub").write_text("in the way")
    with pytest.raises(DitbenchError, match="cannot download") as caught:
        inception.InceptionV3.find_weights()
    assert caught.value.exit_code == EXIT_FAILED


def test_missing_file(tmp_path):
    with pytest.raises(DitbenchError, match=r"cannot read .*nowhere\.pth") as caught:
        InceptionV3(tmp_path / "nowhere.pth")
    assert caught.value.exit_code == EXIT_USAGE
    assert FILE_NAME in str(caught.value.hint)
