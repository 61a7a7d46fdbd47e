"""Images of one's own, from `run --data` to what `compare` says of them."""

import json
import tomllib
from unittest.mock import Mock

import numpy as np
import pytest
from pictures import encode, write_folder
from sklearn.datasets import load_digits

# The settings and the features of the digits that come with ditbench.
DIGITS = ("--preset", "digits", "--quiet")


def test_an_npz_is_trained_on_scored_and_named(cli, succeed, tiny, tmp_path):
    digits = load_digits()
    path = tmp_path / "my digits.npz"
    np.savez(path, images=(digits.images * 15).astype(np.uint8), labels=digits.target)
    out = tmp_path / "out"
    succeed("run", "--block", "adaln", *tiny, *DIGITS, "--data", path, "--out", out)
    (config,) = out.glob("**/config.toml")
    assert tomllib.loads(config.read_text())["data"]["name"] == "npz"
    *_, note, settings = cli("compare", out).stdout.splitlines()
    assert settings.startswith("my digits.npz, 8x8x1, ")
    assert note.startswith("FID and KID are in digits features, on images of my digits.npz: ")


def test_a_download_that_fails_is_one_line_and_exit_1(cli, tmp_path, monkeypatch):
    failure = Mock(side_effect=OSError("Name or service not known"))
    monkeypatch.setattr("urllib.request.urlopen", failure)
    monkeypatch.setenv("DITBENCH_CACHE", str(tmp_path / "cache"))
    result = cli("run", "--block", "adaln", "--preset", "cifar10", "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: cannot download CIFAR-10 to ")
    assert hint.startswith("help: put cifar-10-python.tar.gz from https://")
    assert not (tmp_path / "out").exists()


WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture
def run_on(succeed, tiny, tmp_path):
    """Train on digits whose classes have other names: the result of the command, and the run."""

    def run(names):
        digits = load_digits()
        images = (digits.images[:200] * 15).astype(np.uint8)
        files = {
            f"{names[label]}/{number}.png": encode(image)
            for number, (image, label) in enumerate(zip(images, digits.target, strict=False))
        }
        data, out = write_folder(tmp_path / "imgs", files), tmp_path / "out"
        options = (*DIGITS, "--data", data, "--out", out)
        result = succeed("run", "--block", "adaln", *tiny, *options)
        return result, next(out.glob("digits/adaln/*"))

    return run


def test_classes_in_words_are_matched_and_said(run_on):
    result, run = run_on(WORDS)
    assert result.stderr.startswith("warning: label accuracy takes the classes of 'imgs' as those")
    assert "accuracy" in result.stdout
    facts = {"shape": [1, 8, 8], "classes": sorted(WORDS), "images": 200}
    assert json.loads((run / "env.json").read_text())["data"] == facts


def test_other_classes_have_no_label_accuracy(succeed, run_on):
    result, run = run_on("abcdefghij")
    assert result.stderr.startswith("warning: no label accuracy: the classes of 'imgs' are a, b, c")
    assert "accuracy" not in result.stdout
    assert "label_accuracy" not in (run / "eval.csv").read_text()
    compared = succeed("compare", run, "--wide")
    assert "acc." not in compared.stdout


def test_an_unfinished_run_keeps_the_label_accuracy_that_it_began_with(succeed, tiny, run_on):
    """Earlier versions had it for all classes; or the class folders were renamed."""
    _, run = run_on("0123456789")
    before = (run / "eval.csv").read_text()
    (run / "result.json").unlink()
    images, out = run.parents[3] / "imgs", run.parents[3] / "out"
    for name in "0123456789":
        (images / name).rename(images / f"c{name}")
    result = succeed("run", "--block", "adaln", *tiny, *DIGITS, "--data", images, "--out", out)
    assert (run / "eval.csv").read_text() == before
    assert "accuracy" in result.stdout
    assert "no label accuracy" not in result.stderr


def test_a_run_is_sampled_by_name_where_its_images_are_gone(cli, succeed, run_on, elsewhere):
    """From another working directory, with the same pixels as by number."""
    _, run = run_on(WORDS)
    (run.parents[3] / "imgs").rename(run.parents[3] / "moved")
    for name, classes in (("a.png", "two,eight"), ("b.png", "8, 0"), ("c.png", "zero")):
        result = succeed("sample", run, "--classes", classes, "--per-class", 2, "-o", name)
    assert result.stderr == "columns: zero\n"
    result = cli("sample", run, "--classes", "8,0", "--per-class", 2, "-o", "d.png")
    assert result.stderr == "columns: two, eight\n"
    assert (elsewhere / "a.png").read_bytes() == (elsewhere / "d.png").read_bytes()
    assert (elsewhere / "a.png").read_bytes() == (elsewhere / "b.png").read_bytes()


def test_changed_images_of_a_run_that_did_not_record_them(cli, run_on):
    _, run = run_on("0123456789")
    facts = json.loads((run / "env.json").read_text())
    del facts["data"]
    (run / "env.json").write_text(json.dumps(facts))
    images, grid = run.parents[3] / "imgs", run.parents[3] / "grid.png"
    result = cli("sample", run, "--classes", "3", "--per-class", 1, "-o", grid)
    assert (result.exit_code, result.stderr) == (0, "columns: 3\n")
    next(images.glob("0/*.png")).unlink()
    result = cli("sample", run, "--per-class", 1, "-o", grid)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the images have changed since ")


def test_an_unfinished_run_on_images_that_changed_is_named(succeed, tiny, run_on):
    _, run = run_on("0123456789")
    (run / "result.json").unlink()
    images, out = run.parents[3] / "imgs", run.parents[3] / "out"
    next(images.glob("0/*.png")).unlink()
    result = succeed("run", "--block", "adaln", *tiny, *DIGITS, "--data", images, "--out", out)
    assert result.stderr == (
        "warning: the images of 'imgs', or the order of their classes, have changed since "
        f"{run}, which is not resumed: this is a new run\n"
    )
