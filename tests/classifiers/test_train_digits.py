import pytest
import torch
from train_digits import augment, held_out_mask, main, train_digits

from ditbench.data.digits import load_digits
from ditbench.metrics.features.classifiers import DigitsClassifier


def test_twice_the_same_bits_on_any_number_of_threads(tmp_path):
    threads = torch.get_num_threads()
    accuracy = train_digits(tmp_path / "a", epochs=2)
    try:
        torch.set_num_threads(2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(99)
            assert train_digits(tmp_path / "b", epochs=2) == accuracy
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert accuracy > 0.5  # it learns: chance is 0.1
    assert accuracy_of(DigitsClassifier(tmp_path / "a")) == pytest.approx(accuracy)


def accuracy_of(classifier):
    digits = load_digits()
    held_out = held_out_mask(digits.labels)
    logits = classifier(digits.images[held_out]).logits
    assert logits is not None
    assert classifier.details["test_images"] == str(int(held_out.sum()))
    return (logits.argmax(1) == digits.labels[held_out]).float().mean().item()


def test_shipped_weights_have_the_accuracy_in_their_file():
    shipped = DigitsClassifier()
    found = accuracy_of(shipped)
    assert found == pytest.approx(float(shipped.details["test_accuracy"]), abs=1e-6)
    assert found >= 0.98


def test_the_split_is_fixed_and_stratified():
    labels = load_digits().labels
    held_out = held_out_mask(labels)
    share = torch.bincount(labels[held_out]) / torch.bincount(labels)
    assert share.min() > 0.19
    assert share.max() <= 0.2
    labels = torch.tensor([7, 0, 7, 7, 0, 7, 7, 7])
    assert held_out_mask(labels).nonzero().flatten().tolist() == [6]  # the fifth 7


def test_augmentation_is_slight_and_fills_with_white_paper():
    x = load_digits().images[:200].float() / 127.5 - 1
    moved = augment(x, torch.Generator().manual_seed(0))
    assert moved.shape == x.shape
    assert moved.min() >= -1 - 1e-5
    assert moved.max() <= 1 + 1e-5
    assert not torch.equal(moved, x)
    assert (moved.mean((1, 2, 3)) - x.mean((1, 2, 3))).abs().max() < 0.3
    blank = torch.full((3, 1, 8, 8), -1.0)
    assert torch.allclose(augment(blank, torch.Generator().manual_seed(0)), blank)


def test_the_script_prints_where_and_how_good(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.safetensors"
    monkeypatch.setattr("sys.argv", ["train_digits.py", "-o", str(path), "--epochs", "1"])
    main()
    details = DigitsClassifier(path).details
    expected = f"test accuracy {float(details['test_accuracy']):.4f}, weights in {path}\n"
    assert capsys.readouterr().out == expected
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("sys.argv", ["train_digits.py", "-o", f"{tmp_path}/file/x", "--epochs=1"])
    with pytest.raises(SystemExit, match="error: cannot write"):
        main()
