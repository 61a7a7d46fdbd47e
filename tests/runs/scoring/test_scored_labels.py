"""The classes of the scored samples."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ditbench.config import read_toml
from ditbench.data.dataset import ImageDataset
from ditbench.data.digits import load_digits
from ditbench.errors import DitbenchError
from ditbench.runs.run import execute
from ditbench.runs.scoring.labels import (
    balanced_labels,
    check_classes,
    proportional_labels,
    resolve_labels,
    scored_labels,
)


def of_sizes(*sizes, names=None):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    images = torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8)
    return ImageDataset("mine", images, labels, names or tuple(map(str, range(len(sizes)))))


def test_balanced_labels_take_every_class_in_turn():
    assert balanced_labels(7, 3).tolist() == [0, 1, 2, 0, 1, 2, 0]


sizes = st.lists(st.integers(1, 10_000), min_size=1, max_size=40)


@given(st.integers(2, 2_000), sizes)
def test_labels_have_the_proportions_of_the_data_and_so_has_every_beginning(count, sizes):
    labels = proportional_labels(count, torch.tensor(sizes))
    found = labels.bincount(minlength=len(sizes)).tolist()
    assert sum(found) == len(labels) == count
    shares = [Fraction(count * size, sum(sizes)) for size in sizes]
    # Largest remainders: each share is rounded up or down, up for those that have more left.
    assert all(number - share < 1 and share - number < 1
               for number, share in zip(found, shares, strict=True))  # fmt: skip
    up = [share % 1 for number, share in zip(found, shares, strict=True) if number > share]
    down = [share % 1 for number, share in zip(found, shares, strict=True) if number < share]
    assert not up or not down or min(up) >= max(down)
    one_hot = torch.nn.functional.one_hot(labels, len(sizes)).cumsum(0)
    expected = torch.arange(1, count + 1)[:, None] * torch.tensor(found) / count
    assert (one_hot - expected).abs().max() <= 1 + len(sizes) / 2


def test_ties_go_to_the_lower_class():
    assert proportional_labels(4, torch.tensor([1, 1, 1])).bincount().tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("of", "asked", "resolved"),
    [
        ((10, 15), "auto", "auto"),
        ((10, 16), "auto", "data"),
        ((10, 10), "balanced", "auto"),
        ((10, 16), "balanced", "balanced"),
        ((10, 10), "data", "data"),
        ((10, 16), "data", "data"),
    ],
)
def test_what_auto_means(of, asked, resolved):
    data = of_sizes(*of)
    assert resolve_labels(asked, data) == resolved
    assert resolve_labels(resolved, data) == resolved
    balanced = scored_labels(resolved, 26, data).bincount().tolist() == [13, 13]
    assert balanced == (resolved != "data" or of == (10, 10))


def test_a_perfect_generator_is_scored_as_one_where_classes_differ_in_size():
    """One class of 178 images and nine of a single one, in a Frechet distance of pixels."""
    digits = load_digits()
    chosen = [torch.nonzero(digits.labels == label).flatten() for label in range(10)]
    index = torch.cat([chosen[0], *(each[:1] for each in chosen[1:])])
    data = ImageDataset("odd", digits.images[index], digits.labels[index], digits.class_names)
    assert sorted(data.labels.bincount().tolist()) == [1] * 9 + [178]
    pixels = data.images.flatten(1).double() / 255

    def distance(labels):
        draws = torch.Generator().manual_seed(0)
        drawn = []
        for label in labels.tolist():
            own = pixels[data.labels == label]
            drawn.append(own[torch.randint(len(own), (1,), generator=draws).item()])
        ours, real = torch.stack(drawn), pixels
        mean = (ours.mean(0) - real.mean(0)).square().sum().item()
        one, two = np.cov(ours.numpy().T), np.cov(real.numpy().T)
        # The trace of a root is the sum of the roots of the eigenvalues.
        root = np.sqrt(np.linalg.eigvals(one @ two).real.clip(0)).sum()
        return mean + np.trace(one + two) - 2 * root

    assert resolve_labels("auto", data) == "data"
    balanced = distance(balanced_labels(1000, 10))
    assert distance(scored_labels("data", 1000, data)) < balanced / 20


def test_a_class_without_images_is_named():
    with pytest.raises(DitbenchError, match=r"has no images of class 1, 'dog'$") as caught:
        check_classes(of_sizes(3, 0, 2, names=("cat", "dog", "eel")))
    assert "without gaps" in caught.value.hint
    with pytest.raises(DitbenchError, match=r"class 1, '1' \(and of 2 more\)"):
        check_classes(of_sizes(3, 0, 0, 0, 2))
    check_classes(of_sizes(1, 2))


@pytest.fixture
def uneven(tmp_path):
    """An .npz of a large class and two of one image each."""
    digits = load_digits()
    path, labels = tmp_path / "uneven.npz", np.array([0] * 38 + [1, 2])
    np.savez(path, images=digits.images[:40, 0].numpy(), labels=labels)
    return path


def plan_of(make_plan, path, **values):
    return make_plan(
        data__name="npz", data__path=str(path), metrics__features="inception", **values
    )


def test_a_plan_says_what_is_scored(make_plan, uneven):
    auto, balanced = plan_of(make_plan, uneven), plan_of(make_plan, uneven, eval__labels="balanced")
    data = plan_of(make_plan, uneven, eval__labels="data")
    assert auto.config == data.config
    assert 'labels = "data"' in data.config.to_toml()
    assert data.config.fingerprint != balanced.config.fingerprint
    even = make_plan(), make_plan(eval__labels="balanced")
    assert even[0].config == even[1].config
    assert "labels" not in even[0].config.to_toml()


def test_a_plan_refuses_a_class_without_images(make_plan, tmp_path):
    path = tmp_path / "gap.npz"
    np.savez(path, images=np.zeros((20, 8, 8), np.uint8), labels=[0, 2] * 10)
    with pytest.raises(DitbenchError, match="'gap' has no images of class 1"):
        plan_of(make_plan, path)


def test_the_grid_shows_every_class(make_plan):
    """Also where some class has less than one of the scored samples."""
    plan = make_plan(eval__labels="data", eval__points=1, eval__samples=10)
    execute(plan)
    assert read_toml(plan.directory.config)["eval"]["labels"] == "data"
    with Image.open(plan.directory.samples(6)) as grid:
        assert grid.size == (10 * 50, 8 * 50)
