import dataclasses

import numpy as np
import pytest
import torch
from augment import Augmentation
from common import initialised
from fit import Data, Recipe, fit
from folding import folded_tensors, with_batch_norm
from train_cifar10 import RECIPE, main, train_cifar10

from ditbench.data.dataset import ImageDataset
from ditbench.data.latents.npz import load_npz
from ditbench.errors import EXIT_FAILED, EXIT_USAGE, DitbenchError
from ditbench.metrics.features.classifiers import Cifar10Classifier, Cifar10Net

CPU = torch.device("cpu")
NAMES = tuple("abcdefghij")
WIDTHS, DEPTHS = (8, 8, 16), (1, 1, 1)
SLIGHT = Augmentation(shift=1, geometry=0.1, colour=0.1, magnitude=0.2, cutout=4)


def easy(count, seed):
    """Ten classes, each a colour with noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 10
    colours = torch.randint(0, 200, (10, 3, 1, 1), generator=torch.Generator().manual_seed(0))
    noise = torch.randint(0, 50, (count, 3, 32, 32), generator=generator)
    return ImageDataset("easy", (colours[labels] + noise).to(torch.uint8), labels, NAMES)


def small(seed=0):
    return initialised(
        lambda: with_batch_norm(Cifar10Net(WIDTHS, DEPTHS)), torch.Generator().manual_seed(seed)
    )


def fitted(recipe):
    train, net = easy(100, 1), small()
    data = Data.of(train.images, train.labels, 10, CPU)
    fit(net, data, recipe, torch.Generator().manual_seed(7))
    return net


def accuracy(net):
    test = easy(100, 2)
    with torch.no_grad():
        logits = net(test.images.float() / 127.5 - 1)[1]
    return (logits.argmax(1) == test.labels).float().mean().item()


def loaded(tensors):
    with torch.device("meta"):
        net = Cifar10Net(WIDTHS, DEPTHS)
    net.load_state_dict(tensors, assign=True)
    return net


SHORT = Recipe(epochs=8, batch_size=20, lr=0.05, augmentation=SLIGHT, mixed=0.2)


@pytest.fixture(scope="module")
def trained():
    return fitted(SHORT)


def test_it_learns(trained):
    assert accuracy(trained) > 0.5  # chance is 0.1
    assert not trained.training


def test_a_seed_decides_every_bit(trained):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        again = fitted(SHORT)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name]), name


def test_the_shipped_file_was_trained_for_as_long_as_the_recipe_says():
    assert Cifar10Classifier().details["epochs"] == str(RECIPE.epochs)


def test_folding_is_exact(trained):
    folded = loaded(folded_tensors(trained))
    x = easy(20, 3).images.float() / 127.5 - 1
    with torch.no_grad():
        for found, expected in zip(folded(x), trained(x), strict=True):
            assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


def other(**changes):
    return dataclasses.replace(easy(10, 1), **changes)


@pytest.mark.parametrize(
    ("train", "test", "error", "hint"),
    [
        (easy(10, 1), other(images=torch.zeros(10, 1, 8, 8, dtype=torch.uint8)), "8x8x1", "auto"),
        (other(class_names=(*NAMES, "k")), easy(10, 2), "has 11", "--data cifar10-train.zip"),
        (easy(10, 1), other(class_names=NAMES[::-1]), "are not those of 'easy'", "--test"),
    ],
)
def test_images_that_do_not_fit(tmp_path, train, test, error, hint):
    with pytest.raises(DitbenchError, match=error) as caught:
        train_cifar10(tmp_path / "net", train, test, CPU)
    assert hint in str(caught.value.hint)
    assert caught.value.exit_code == EXIT_USAGE
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["file/net.safetensors", "folder"])
def test_unwritable_output_is_an_error_before_the_training(tmp_path, place, capsys):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DitbenchError, match="cannot write") as caught:
        train_cifar10(tmp_path / place, easy(10, 1), easy(10, 2), CPU)
    assert caught.value.exit_code == EXIT_FAILED
    assert not capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_training_that_diverges_writes_nothing(tmp_path):
    recipe = Recipe(epochs=1, batch_size=10, lr=1e30, augmentation=SLIGHT)
    with pytest.raises(DitbenchError, match="has diverged") as caught:
        train_cifar10(tmp_path / "net", easy(20, 1), easy(10, 2), CPU, recipe=recipe)
    assert caught.value.exit_code == EXIT_FAILED
    assert not list(tmp_path.iterdir())


def test_the_script_writes_the_accuracy_of_its_file(tmp_path, monkeypatch, capsys):
    """Images of random pixels: nothing to learn, but every stage runs."""
    draws = np.random.default_rng(0)
    for name, count in (("train", 40), ("test", 20)):
        images = draws.integers(0, 256, (count, 32, 32, 3), np.uint8)
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.arange(count) % 10)
    options = {"--data": "train.npz", "--test": "test.npz", "-o": "new/cifar10.safetensors"}
    arguments = [part for key, name in options.items() for part in (key, str(tmp_path / name))]
    command = ["train_cifar10.py", "--device", "cpu", "--epochs", "1", *arguments]
    monkeypatch.setattr("sys.argv", command)
    main()
    path = tmp_path / "new" / "cifar10.safetensors"
    assert path.stat().st_size < 6_000_000
    classifier, train = Cifar10Classifier(path), load_npz(tmp_path / "train.npz")
    test = load_npz(tmp_path / "test.npz")
    right = (classifier(test.images).logits.argmax(1) == test.labels).float().mean().item()
    details = classifier.details
    assert float(details["test_accuracy"]) == pytest.approx(right, abs=1e-6)
    assert details["data"].startswith("train, 40 images")
    assert (details["test_images"], details["epochs"]) == ("20", "1")
    assert (details["data_sha256"], details["test_sha256"]) == (train.digest, test.digest)
    assert capsys.readouterr().out.startswith(f"test accuracy {right:.4f}, weights in ")
    monkeypatch.setattr("sys.argv", [*command[:-4], "--test", str(tmp_path / "none.npz")])
    with pytest.raises(SystemExit, match="error: "):
        main()
