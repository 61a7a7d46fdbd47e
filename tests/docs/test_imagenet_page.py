"""Every command of docs/imagenet.md, in its order, with a small model on a few pictures."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from autoencoder import saved
from command_line import ditbench
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "imagenet.md"
# Later options of the same name win.
SMALL = (
    *("--model", "16x1x2/2", "--batch-size", "16", "--steps", "4", "--device", "cpu"),
    *("--set", "eval.points=1", "--set", "eval.samples=20", "--set", "eval.sampling_steps=2"),
    *("--set", "eval.final_sampling_steps=3", "--features", "cifar10", "--backend", "plain"),
)
MORE = {
    "encode": ("--image-size", "32", "--device", "cpu"),
    "run": SMALL,
    "eval": ("--device", "cpu", "--samples", "20", "--features", "cifar10"),
    "sample": ("--device", "cpu"),
}
# Published statistics are of Inception, whose weights are not at hand: pictures are.
PUBLISHED = "VIRTUAL_imagenet256_labeled.npz"


def commands():
    lines = (line.strip() for line in PAGE.read_text("utf-8").splitlines())
    return [shlex.split(line)[1:] for line in lines if line.startswith("ditbench ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagenet")
    draws = np.random.default_rng(0)
    for label in range(10):
        (folder / f"imagenet/train/{label}").mkdir(parents=True)
        for number in range(2):
            pixels = draws.integers(0, 256, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"imagenet/train/{label}/{number}.png")
    saved(folder / "vae")
    return folder


@pytest.mark.slow
def test_every_command_of_the_page(place, monkeypatch):
    monkeypatch.chdir(place)
    outputs = {}
    for command in commands():
        name, *rest = command
        found = sorted(Path("results").glob("imagenet256/adaln-zero/seed0-*"))
        run = str(found[0]) if found else ""
        by = {"stabilityai/sd-vae-ft-ema": "vae", PUBLISHED: "imagenet/train", "50k": "15",
              "results/imagenet256/adaln-zero/seed0-00000000": run}  # fmt: skip
        arguments = [by.get(word, word) for word in rest]
        result = ditbench(name, *arguments, *MORE.get(name, ()))
        assert result.exit_code == 0, (command, result.stderr)
        outputs[" ".join(command)] = result.stdout
    dry = next(text for command, text in outputs.items() if command.endswith("--dry-run"))
    assert "Disk: " in dry
    runs = [json.loads(path.read_text()) for path in Path("results").glob("*/*/*/result.json")]
    assert {(each["preset"], each["block"]) for each in runs} == {
        (preset, block)
        for preset in ("imagenet256", "imagenet256-s2")
        for block in ("in-context", "cross-attention", "adaln", "adaln-zero")
    }
    assert all("fid_20" in each["final"] for each in runs)
    with np.load("samples.npz") as arrays:
        assert arrays["arr_0"].shape == (15, 32, 32, 3)
    assert all(
        Path(name).stat().st_size for name in ("imagenet.pdf", "imagenet.html", "samples.png")
    )
