"""DINOv2 from a checkout that the test makes: a linear map of the right shape."""

import pytest
import torch

from ditbench.errors import EXIT_USAGE, DitbenchError
from ditbench.metrics import create_extractor
from ditbench.metrics.features.dinov2 import MEAN, STD, DinoV2Small

HUBCONF = """
import torch

def dinov2_vits14(pretrained=True):
    assert not pretrained, "it would download"
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(3, 384)
        def forward(self, x):
            assert x.shape[1:] == (3, 224, 224)
            return self.head(x.mean((2, 3)))
    return Net()
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of torch with a checkout and no weights."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    checkout = DinoV2Small.checkout()
    checkout.mkdir(parents=True)
    (checkout / "hubconf.py").write_text(HUBCONF)
    return tmp_path / "hub"


@pytest.fixture
def weights(hub):
    """The weights of the checkout's network, in their place."""
    state = {"head.weight": torch.arange(1152.0).view(384, 3), "head.bias": torch.ones(384)}
    path = DinoV2Small.weights_file()
    path.parent.mkdir()
    torch.save(state, path)
    return state


def test_features_are_the_networks_of_normalized_images(weights, digits):
    extractor = create_extractor("dinov2-vits14", digits)
    images = torch.full((2, 1, 8, 8), 100, dtype=torch.uint8)
    features, logits = extractor(images)
    assert logits is None
    assert not extractor.classifies
    colour = (100 - torch.tensor(MEAN)) / torch.tensor(STD)
    expected = weights["head.weight"] @ colour + 1
    assert features.shape == (2, 384)
    assert torch.allclose(features, expected.expand(2, -1), rtol=1e-4)
    assert extractor.details["weights"] == "dinov2_vits14_pretrain.pth"


@pytest.mark.parametrize("missing", ["checkout", "weights"])
def test_what_is_missing_is_named_with_where_to_get_it(weights, digits, missing):
    path = DinoV2Small.files()[("checkout", "weights").index(missing)]
    path.unlink()
    with pytest.raises(DitbenchError) as caught:
        create_extractor("dinov2-vits14", digits)
    assert str(path) in caught.value.message
    assert "git clone https://github.com/facebookresearch/dinov2" in caught.value.hint
    assert "dinov2_vits14_pretrain.pth" in caught.value.hint
    assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize("code", ["import nothing_of_this_name", "1 / 0", ""])
def test_a_checkout_that_does_not_work_is_named(weights, hub, digits, code):
    (DinoV2Small.checkout() / "hubconf.py").write_text(code)
    with pytest.raises(DitbenchError, match="cannot make DINOv2 ViT-S/14 from"):
        create_extractor("dinov2-vits14", digits)


def test_weights_of_another_network_are_refused(weights, digits):
    torch.save({"head.weight": torch.zeros(384, 3)}, DinoV2Small.weights_file())
    with pytest.raises(DitbenchError, match="does not hold DINOv2 ViT-S/14 weights"):
        create_extractor("dinov2-vits14", digits)
