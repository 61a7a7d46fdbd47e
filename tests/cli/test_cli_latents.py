"""Runs on latents on the command line: scored as latents, then as images; what people mix up."""

import json
import shutil

import autoencoder
import latents
import numpy as np
import pytest

SAMPLED = ("--samples", "20", "--sampling-steps", "2", "--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An autoencoder, another one, and a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("latents")
    vae = autoencoder.saved(folder / "vae")
    autoencoder.saved(folder / "other", seed=1)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    np.savez(folder / "pixels.npz", images=pixels, labels=np.arange(40) % 10)
    latents.npz(folder / "mine.npz", 40, image_size=32, scaling_factor=0.18215)
    return vae.parent


@pytest.fixture
def encoded(succeed, place, monkeypatch):
    """In that folder, `my latents`."""
    monkeypatch.chdir(place)
    given = ("-o", "my latents", "--vae", "vae", "--image-size", "32", "--device", "cpu")
    result = succeed("encode", "pixels.npz", *given)
    assert "ditbench run --data 'my latents'" in result.stdout
    return place / "my latents"


def test_a_run_on_latents_is_scored_as_images_later(succeed, encoded, tiny):
    made = succeed("run", "--data", encoded, "--block", "adaln", *tiny)
    assert "latents: in the range of the model" in made.stderr
    run = made.stdout.splitlines()[-1]
    for vae, warning in (("vae", False), ("other", True)):
        scored = succeed("eval", run, "--vae", vae, *SAMPLED, "--features", "cifar10", "--json")
        assert json.loads(scored.stdout)[0]["fid"] > 0
        assert ("decoded by other, which is another" in scored.stderr) == warning
        sampled = succeed("sample", run, "--vae", vae, "--device", "cpu", "--per-class", "1")
        assert ("decoded by other, which is another" in sampled.stderr) == warning


def test_features_of_a_run_scored_as_latents_become_those_of_images(cli, succeed, encoded, tiny):
    made = cli("run", "--data", encoded, "--block", "adaln", *tiny)
    run = made.stdout.splitlines()[-1]
    scored = succeed("eval", run, "--vae", "vae", *SAMPLED, "--json")
    assert json.loads(scored.stdout)[0]["features"] != "latents"


def test_an_npz_of_latents_is_scored_as_latents(succeed, place, tiny, monkeypatch):
    monkeypatch.chdir(place)
    made = succeed("run", "--data", "mine.npz", "--block", "adaln", *tiny)
    assert "features: latents" in made.stderr


@pytest.mark.parametrize("source", ["mine.npz", "my latents"])
def test_latents_are_not_encoded_again(mistake, encoded, source):
    error, _ = mistake("encode", source, "-o", "again", "--vae", "vae", "--device", "cpu")
    assert f"{source} holds latents, not images" in error


def test_shards_that_are_gone_or_not_fetched_are_named(cli, mistake, encoded, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(encoded, copy)
    shard = copy / "shard-00000-of-00001.safetensors"
    shard.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    result = cli("run", "--data", copy, "--dry-run")
    assert result.exit_code == 1
    assert "pointer of Git LFS" in result.stderr
    assert "git lfs pull" in result.stderr
    shard.unlink()
    error, _ = mistake("run", "--data", copy, "--dry-run", code=1)
    assert f"{shard.name} is not a complete" in error


def test_no_distance_of_latents_is_called_fid(cli, succeed, place, tiny, monkeypatch):
    monkeypatch.chdir(place)
    given = ("--data", "mine.npz", "--block", "adaln", *tiny)
    tuned = succeed("tune", *given, "--steps", "2", "--lr", "1e-3,1e-4", "--out", "tuned")
    assert "Mean final Latent KD by learning rate" in tuned.stdout
    assert "FID" not in tuned.stdout
    assert "are few for Latent FD in latents features" in tuned.stderr
    succeed("run", *given, "--out", "tuned")
    compared = cli("compare", "tuned", "--target-fid", "1e6", "--format", "md").stdout
    assert "| Reached Latent FD 1e+06 |" in compared
    succeed("report", "tuned", "-o", "page.html")
    page = (place / "page.html").read_text()
    assert '<th class="number">Latent FD</th>' in page
    assert "Latent FD against cost" in page
