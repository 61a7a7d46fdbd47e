"""From a folder of pictures as people have them to a verdict and exported samples."""

import io
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from pictures import encode, write_folder
from PIL import Image

from ditbench.cli.commands import init
from ditbench.cli.options.training import Training

# Written into the file by `init`, so that no later command needs an option.
TINY = {
    "model.hidden_size": 16, "model.depth": 1, "model.num_heads": 2, "train.batch_size": 8,
    "budget.steps": 4, "eval.points": 1, "eval.samples": 12, "eval.sampling_steps": 2,
    "data.image_size": 16, "model.patch_size": 4, "metrics.features": "efficientnet-lite0",
}  # fmt: skip
TINY = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]


KINDS = (("RGB", "PNG"), ("RGBA", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("P", "GIF"))


def picture(number):
    """A picture of one of many kinds, and the suffix of its file."""
    rng = np.random.default_rng(number)
    height, width = rng.integers(30, 300, 2)
    pixels = np.kron(rng.integers(0, 256, (3, 4, 3)), np.ones((100, 75, 1)))[:height, :width]
    pixels = pixels.astype(np.uint8)
    if number % 6 == 5:
        file, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels).save(file, "JPEG", exif=exif)
        return file.getvalue(), "JPG"
    mode, kind = KINDS[number % 6]
    return encode(pixels, kind, mode), kind.lower()


def nasty():
    """Files of `train/` and `val/`, with what should not be there."""
    files = {"train/big cats/caption.txt": b"a cat", "train/dog 2/broken.png": b"\x89PNG, broken"}
    for split, count in (("train", 36), ("val", 4)):
        for label in ("big cats", "dog 2", "3 birds"):
            for number in range(count):
                data, suffix = picture(number)
                files[f"{split}/{label}/{number}.{suffix}"] = data
    return files


@pytest.fixture
def animals(elsewhere):
    return write_folder(elsewhere / "my animals", nasty())


@pytest.fixture
def unmeasured(monkeypatch):
    monkeypatch.setattr(init, "forecast", lambda *_: [])


def test_from_a_folder_to_exported_samples(succeed, animals):
    lines = succeed("init", animals.name, *TINY).stdout.splitlines()
    assert lines[0].startswith("my animals: 108 images to train on, 12 held out; RGB, ")
    assert lines[1] == "3 classes: 3 birds 36, big cats 36, dog 2 36"
    notes = "\n".join(lines)
    for line in ("flattened over white", "rotated by EXIF", "CMYK", "grey", "1 unreadable"):
        assert line in notes
    assert any(
        line.startswith("On c") and "the paper's four with 5 seeds" in line for line in lines
    )

    ran = succeed("run")
    assert "settings: ./ditbench.toml" in ran.stderr
    runs = sorted(file.parent for file in Path("results/my-animals").glob("*/*/result.json"))
    names = [run.parent.name for run in runs]
    assert names == ["adaln", "adaln-zero", "cross-attention", "in-context"]

    succeed("eval", runs[0])
    assert any((runs[0] / "evals").iterdir())
    table = succeed("compare").stdout
    assert table.splitlines()[-1].startswith("my animals, 16x16x3, ")
    assert all(name in table for name in names)
    succeed("plot")
    assert Path("ditbench.png").is_file()
    succeed("sample", runs[0], "--export", "samples", "--count", 6)
    assert len(list(Path("samples").rglob("*.png"))) == 6


def test_run_with_data_alone_is_the_run_that_init_describes(succeed, animals, unmeasured):
    succeed("init", animals.name, "--set", "metrics.features=efficientnet-lite0")
    of_file = Training().configure()
    Path("ditbench.toml").unlink()
    derived = Training(data=Path(animals.name), features="efficientnet-lite0").configure()
    assert derived == of_file
    assert derived.block == "paper"
    out = ("--out", "elsewhere/results")
    ran = succeed("run", "--block", "adaln", "--data", animals, *TINY, *out)
    assert "settings derived from 108 images of my animals" in ran.stderr
    (result,) = Path("elsewhere/results/my-animals/adaln").glob("*/result.json")
    facts = json.loads((result.parent / "env.json").read_text())["data"]
    assert facts["classes"] == ["3 birds", "big cats", "dog 2"]


def test_models_that_are_too_large_for_a_cpu_are_not_timed(succeed, animals, untimed):
    result = succeed("init", animals.name, *TINY, "--device", "cpu")
    *_, time, after = result.stdout.splitlines()
    assert time == "Too large to time on cpu: `ditbench run --dry-run` counts GPU hours."
    assert after.startswith("next: ")


def test_what_exists_is_kept_unless_forced(cli, succeed, animals, unmeasured):
    Path("ditbench.toml").write_text("preset = 'mine'")
    refused = cli("init", animals.name)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: ./ditbench.toml exists\nhelp: add --force ")
    assert Path("ditbench.toml").read_text() == "preset = 'mine'"
    Path("ditbench.toml").rename("mine.toml")
    Path("ditbench.toml").symlink_to("mine.toml")
    succeed("init", animals.name, "--force")
    assert Path("ditbench.toml").is_symlink()
    assert tomllib.loads(Path("ditbench.toml").read_text())["preset"] == "my-animals"


def test_every_problem_is_listed_and_nothing_is_written(cli, animals):
    (animals / "train" / "empty").mkdir()
    for number in range(3):
        (animals / "train" / "big cats" / f"bad{number}.png").write_bytes(b"no picture")
    result = cli("init", animals.name)
    assert result.exit_code == 2
    assert "flattened over white" in result.stdout
    assert result.stderr.count("failed: ") == 2
    assert "error: 2 problems in 'my animals': nothing is written" in result.stderr
    assert not Path("ditbench.toml").exists()
    ran = cli("run", "--data", animals.name)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: 2 problems: (1) ")
    assert len(ran.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("pictures", "options", "problem"),
    [
        (["a/1.png"], (), "'few' has 1 image, and FID needs at least 2"),
        (["a/1.png", "b/2.png"], ("--set", "train.batch_size=9"), "batch size 9 is larger than"),
        (["a/x/1.png", "b/y/2.png"], (), "few: a/x/1.png is not in a class folder (and 1 more)"),
    ],
)
def test_nothing_is_written_if_no_run_can_start(pictures, options, problem, cli, elsewhere):
    write_folder(Path("few"), {name: picture(1)[0] for name in pictures})
    result = cli("init", "few", *options)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert " 0 images" not in result.stdout
    assert not Path("ditbench.toml").exists()


def test_among_the_pictures_there_is_no_place_for_runs(mistake, animals, monkeypatch):
    monkeypatch.chdir(animals)
    assert f"help: work beside them: cd {animals.parent}, " in mistake("init", ".")[1]


def test_everything_that_does_not_fit_is_one_message(cli, succeed, animals, unmeasured):
    succeed("init", animals.name)
    settings = ("eval.samples=2", "model.patch_size=7")
    result = cli("run", "--batch-size", 500, *(part for s in settings for part in ("--set", s)))
    assert (result.exit_code, result.stdout) == (2, "")
    _, error, hint = result.stderr.splitlines()
    assert error.startswith("error: 3 problems: (1) batch size 500 is larger than the data (108 ")
    assert "eval.samples = 2 is fewer than the 3 classes" in error
    assert "patch size 7 does not divide 128x128" in error
    assert "--batch-size 108 or less" in hint


def test_a_preset_or_other_images_leave_the_file_unread(succeed, animals, unmeasured, tiny):
    succeed("init", animals.name)
    result = succeed("run", "--block", "adaln", "--preset", "digits", *tiny, "--dry-run")
    assert "ditbench.toml" not in result.stderr
    assert "digits 8x8x1" in result.stdout
    result = succeed("run", "--block", "adaln", "--data", "digits", *tiny, "--dry-run")
    assert "./ditbench.toml is not read: it is for other images" in result.stderr
    assert "digits 8x8x1" in result.stdout
