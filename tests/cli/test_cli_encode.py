"""`ditbench encode`, and `ditbench init` on latents."""

import tomllib

import latents as made
import numpy as np
import pytest
from autoencoder import saved
from PIL import Image

from ditbench.data.latents.load import load_latents


@pytest.fixture
def pictures(elsewhere):
    draws = np.random.default_rng(0)
    for number in range(30):
        path = elsewhere / "pics" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (20, 18, 3), np.uint8)).save(path)
    saved(elsewhere / "vae")
    return elsewhere


ENCODE = ("encode", "pics", "-o", "lat", "--vae", "vae", "--image-size", "16", "--device", "cpu")


def test_encode_and_look_at_latents(succeed, pictures):
    first = succeed(*ENCODE, "--shard-size", "10")
    assert "30 images of 16 pixels as 8x4x4 float16 (moments)" in first.stderr
    assert "ditbench run --data lat" in first.stdout
    again = succeed(*ENCODE, "--shard-size", "10")
    assert "lat is complete" in again.stderr
    found = load_latents(pictures / "lat")
    assert (len(found), found.shape, found.class_names) == (30, (4, 4, 4), ("cat", "dog"))


def test_one_class_is_singular(succeed, pictures):
    for file in pictures.glob("pics/*/*.png"):
        file.rename(pictures / "pics" / file.name)
    for folder in ("cat", "dog"):
        (pictures / "pics" / folder).rmdir()
    assert "lat: 30 images, 1 class\n" in succeed(*ENCODE).stdout
    brief = ("--model", "16x1x2/2", "--steps", "10", "--set", "eval.samples=20", "--features")
    again = ("run", "--data", "lat", "--dry-run", "--device", "cpu", *brief, "latents")
    assert "\n1 class: all\n" in succeed(*again, "--block", "none").stdout


def test_gpus_share_the_work(cli, pictures):
    one = cli(*ENCODE, "--shard-size", "4")
    two = cli(*ENCODE[:3], "two", *ENCODE[4:], "--shard-size", "4", "--gpus", "2")
    assert (one.exit_code, two.exit_code) == (0, 0)
    assert load_latents(pictures / "lat").digest == load_latents(pictures / "two").digest


def test_settings_derived_from_latents(cli, mistake, pictures):
    made.lightning_dit(pictures / "va", (60, 40))
    assert "do not say the size of their images" in mistake("init", "va")[0]
    looked = cli("init", "va", "--image-size", "32", "--device", "cpu")
    assert "latents 4x4x4 of 32 pixels, draws" in looked.stdout
    assert "normalized per channel, with mirrored copies" in looked.stdout
    if not looked.exit_code:
        data = tomllib.loads((pictures / "ditbench.toml").read_text())["data"]
        assert (data["name"], data["image_size"], data["horizontal_flip"]) == ("latents", 32, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kind", "median"), "unknown kind 'median'"),
        (("--dtype", "int8"), "unknown dtype 'int8'"),
        (("--image-size", "30"), "images of 30 pixels cannot be encoded"),
        (("--vae", "nowhere"), "no such folder: nowhere"),
        (("--vae", "pics"), "cannot load the autoencoder pics"),
        (("-o", "pics/lat"), "is among the pictures"),
        (("-o", "vae/config.json"), "is not a folder"),
        (("--background", "nocolour"), "is not a colour"),
    ],
)
def test_wrong_options_are_one_line(cli, pictures, arguments, message):
    result = cli(*ENCODE, *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_horizontal_flips_need_copies(cli, succeed, pictures):
    succeed(*ENCODE, "--no-flip")
    flipped = ("--set", "data.horizontal_flip=true", "--device", "cpu", "--dry-run")
    result = cli("run", "--data", "lat", *flipped)
    assert result.exit_code == 2
    assert "needs the latents of mirrored images" in result.stderr
