from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics.digits_classifier import DigitsClassifier
from ditbench.metrics.train_features import _augment, held_out_mask, train_digits

if TYPE_CHECKING:
    from pathlib import Path

    from ditbench.data.dataset import ImageDataset


def test_twice_the_same_bits_and_the_claimed_accuracy(tmp_path: Path, digits: ImageDataset):
    lines: list[str] = []
    accuracy = train_digits(tmp_path / "a", lines.append, epochs=2)
    torch.rand(0)  # of no consequence, like anything else that happens in between
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        train_digits(tmp_path / "b", epochs=2)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    first = DigitsClassifier(tmp_path / "a")
    assert accuracy > 0.5  # it learns: chance is 0.1
    held_out = held_out_mask(digits.labels)
    logits = first(digits.images[held_out]).logits
    assert logits is not None
    found = (logits.argmax(1) == digits.labels[held_out]).float().mean().item()
    assert found == pytest.approx(accuracy)
    assert "accuracy on 355 held-out digits" in lines[-1]
    assert float(first.details["test_accuracy"]) == pytest.approx(accuracy, abs=1e-6)


def test_the_number_of_threads_does_not_matter_and_is_left_alone(tmp_path: Path):
    before = torch.get_num_threads()
    try:
        digests = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            train_digits(tmp_path / "net", epochs=1)
            assert torch.get_num_threads() == threads
            digests.append(DigitsClassifier(tmp_path / "net").digest)
        assert digests[0] == digests[1]
    finally:
        torch.set_num_threads(before)


def test_the_split_is_fixed_and_stratified(digits: ImageDataset):
    held_out = held_out_mask(digits.labels)
    assert torch.equal(held_out, held_out_mask(digits.labels.clone()))
    share = torch.bincount(digits.labels[held_out]) / torch.bincount(digits.labels)
    assert share.min() > 0.19
    assert share.max() <= 0.2
    labels = torch.tensor([7, 0, 7, 7, 0, 7, 7, 7])
    assert held_out_mask(labels).nonzero().flatten().tolist() == [6]  # the fifth 7


def test_augmentation_is_slight_and_brings_in_empty_paper(digits: ImageDataset):
    x = digits.images[:200].float() / 127.5 - 1
    moved = _augment(x, torch.Generator().manual_seed(0))
    assert moved.shape == x.shape
    assert moved.min() >= -1 - 1e-5
    assert moved.max() <= 1 + 1e-5
    assert not torch.equal(moved, x)
    assert (moved.mean((1, 2, 3)) - x.mean((1, 2, 3))).abs().max() < 0.3
    blank = torch.full((3, 1, 8, 8), -1.0)
    assert torch.allclose(_augment(blank, torch.Generator().manual_seed(0)), blank)


def test_unwritable_output(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DitbenchError, match="cannot write") as caught:
        train_digits(tmp_path / "file" / "net.safetensors", epochs=1)
    assert caught.value.exit_code == EXIT_FAILED
