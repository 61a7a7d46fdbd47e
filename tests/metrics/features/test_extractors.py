import pytest
import torch
from toy_extractor import ToyExtractor, random_images

from ditbench.data.io.tensors import digest_of


def test_wants_quantised_images(toy):
    with pytest.raises(TypeError, match=r"need uint8 images, got torch\.float32"):
        toy(torch.zeros(2, 3, 4, 4))


def test_stays_in_evaluation_mode_and_makes_no_graph(classifier):
    assert not classifier.train().training
    assert not any(module.training for module in classifier.modules())
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    classifier.requires_grad_(True)
    features, logits = classifier(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    classifier.requires_grad_(False)
    assert not features.requires_grad
    assert logits is not None
    assert not logits.requires_grad


def test_a_callers_autocast_does_not_reach_the_features(toy):
    images = random_images(5, 1)
    plain = toy(images).features
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(toy(images).features, plain)


def test_digests_of_other_weights_or_revisions_differ(monkeypatch):
    first = ToyExtractor().digest
    assert ToyExtractor().digest == first
    assert ToyExtractor(seed=1).digest != first
    monkeypatch.setattr(ToyExtractor, "revision", 2)
    assert ToyExtractor().digest != first


def test_digest_of_tensors():
    base = {"a": torch.zeros(2, 2), "b": torch.tensor(3)}
    same = {"b": torch.tensor(3), "a": torch.zeros(2, 2).t()}
    assert digest_of(same) == digest_of(base)
    others = [
        {"a": torch.zeros(4), "b": torch.tensor(3)},
        {"a": torch.zeros(2, 2, dtype=torch.int32), "b": torch.tensor(3)},
        {"a": torch.zeros(2, 2), "c": torch.tensor(3)},
        {"a": torch.zeros(2, 2), "b": torch.tensor(4)},
        {"a": torch.zeros(2, 2, dtype=torch.bfloat16), "b": torch.tensor(3)},
    ]
    assert len({digest_of(other) for other in (base, *others)}) == 6
