"""Images of one's own, from `run --data` to what `compare` says of them."""

import tomllib

import numpy as np
from sklearn.datasets import load_digits


def test_an_npz_is_trained_on_scored_and_named(cli, tiny, tmp_path):
    digits = load_digits()
    path = tmp_path / "my digits.npz"
    np.savez(path, images=(digits.images * 15).astype(np.uint8), labels=digits.target)
    out = tmp_path / "out"
    result = cli("run", "--block", "adaln", *tiny, "--data", path, "--out", out, "--quiet")
    assert result.exit_code == 0, result.stderr
    (config,) = out.glob("**/config.toml")
    assert tomllib.loads(config.read_text())["data"]["name"] == "npz"
    heading, *_, note, _ = cli("compare", out).stdout.splitlines()
    assert heading.startswith("my digits.npz, 8x8x1, ")
    assert note.startswith("FID and KID are in digits features, on images of my digits.npz: ")


def test_a_download_that_fails_is_one_line_and_exit_1(cli, tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setenv("DITBENCH_CACHE", str(tmp_path / "cache"))
    result = cli("run", "--block", "adaln", "--preset", "cifar10", "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: cannot download CIFAR-10 to ")
    assert hint.startswith("help: put cifar-10-python.tar.gz from https://")
    assert not (tmp_path / "out").exists()
