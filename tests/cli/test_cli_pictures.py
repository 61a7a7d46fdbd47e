"""Pictures as people have them, from the command line."""

import json

import pytest
from pictures import grey, nasty, write_folder

FEATURES = tuple(
    part
    for value in ("metrics.features=efficientnet-lite0", "eval.points=1", "eval.samples=10")
    for part in ("--set", value)
)


def test_a_nasty_folder_is_trained_on_and_says_what_was_done(succeed, tiny, tmp_path):
    data, out = nasty(tmp_path / "my pets", 100), tmp_path / "out"
    options = ("--data", data, "--image-size", 16, "--background", "black", *FEATURES)
    result = succeed("run", "--block", "adaln", *tiny, *options, "--out", out)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("pictures: ")]
    for part in ("2 transparent flattened over black", "1 rotated by EXIF", "1 unreadable skipped"):
        assert part in line
    (env,) = out.glob("**/env.json")
    facts = json.loads(env.read_text())["data"]
    assert (facts["shape"], facts["images"]) == ([3, 16, 16], 100)
    assert facts["classes"] == ["class 2", "class 10"]
    assert facts["skipped"] == ["train/class 2/broken.png is damaged or cut short"]
    assert ", ".join(facts["notes"]) == line.removeprefix("pictures: ")
    (result,) = out.glob("**/result.json")
    assert "fid_held_out" in result.read_text()


def test_mixed_sizes_name_the_option(mistake, tiny, tmp_path):
    files = {"cat/1.png": grey(1), "cat/2.png": grey(2, 8, 8)}
    data = write_folder(tmp_path / "data", files)
    options = ("--preset", "digits", "--data", data, "--out", tmp_path / "out")
    error, hint = mistake("run", "--block", "adaln", *tiny, *options)
    assert "cat/2.png is 8x8, but cat/1.png is 6x4" in error
    assert "--image-size N" in hint


@pytest.mark.parametrize(("scale", "code"), [("1", 0), ("1.5", 2), ("0", 2)])
def test_a_flat_folder_without_dropped_labels(cli, tiny, tmp_path, scale, code):
    data = write_folder(tmp_path / "data", {f"{n:02}.png": grey(9 * n, 8, 8) for n in range(20)})
    options = ("--data", data, "--set", "model.class_dropout_prob=0", *FEATURES)
    options += ("--set", f"eval.cfg_scale={scale}", "--out", tmp_path / "out", "--quiet")
    result = cli("run", "--block", "adaln", *tiny, *options)
    assert result.exit_code == code, result.stderr
    if code:
        assert "model.class_dropout_prob is 0" in result.stderr
    else:
        assert "label accuracy" not in result.stderr
        assert "label_accuracy" not in next((tmp_path / "out").glob("**/eval.csv")).read_text()
