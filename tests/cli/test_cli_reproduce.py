"""`ditbench reproduce`, as a user calls it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ditbench.rundir import RunDirectory

CPU = ("--device", "cpu")


def found_by(result):
    return json.loads(result.stdout)


def test_a_run_is_trained_again_in_a_directory_of_its_own(succeed, results, one_run, elsewhere):
    before = {path: path.read_bytes() for path in one_run.rglob("*") if path.is_file()}
    result = succeed("reproduce", one_run, *CPU)
    sentence, place, *table = result.stdout.splitlines()
    assert sentence.startswith("adaln-zero, seed 0: equal. FID-40 ")
    assert Path(place) == Path("reproduced") / one_run.relative_to(one_run.parents[2])
    assert any("FID-40" in line and "%" in line for line in table)
    assert result.stdout.endswith("What differs (A is the recorded run): none\n\n")
    assert {path: path.read_bytes() for path in one_run.rglob("*") if path.is_file()} == before
    again = RunDirectory(Path(place))
    facts = json.loads(again.environment.read_text())
    assert facts["reproduces"] == {"path": str(one_run)}
    assert facts["planned_seeds"] == 2
    # The same command compares at once; what it wrote is a run like any other.
    same = succeed("reproduce", one_run, *CPU, "--group", results, "--json")
    assert "is complete: it is compared as it is" in same.stderr
    assert found_by(same)["kind"] == "equal"
    assert found_by(same)["seeds"] == 8
    succeed("compare", "reproduced")


@pytest.mark.slow
def test_several_processes_agree_to_rounding(succeed, one_run, tmp_path):
    result = succeed("reproduce", one_run, *CPU, "--gpus", 2, "--out", tmp_path / "two", "--json")
    found = found_by(result)
    assert (found["kind"], found["agrees"]) == ("rounding", True)
    assert 0 < found["loss_difference"] < 1e-4
    assert {"key": "world_size", "a": 1, "b": 2, "source": "environment"} in found["environment"]


def test_a_run_that_does_not_agree_ends_with_1(cli, succeed, one_run, tmp_path):
    """The recorded numbers are another run's: those of a seed that is called 0."""
    out = tmp_path / "again"
    succeed("reproduce", one_run, *CPU, "--out", out)
    (own,) = out.glob("digits/adaln-zero/seed0-*")
    altered = RunDirectory(own)
    result = json.loads(altered.result.read_text())
    header, *rows = altered.evaluations.read_text().splitlines()
    column = header.split(",").index("fid_40")
    cells = rows[-1].split(",")
    cells[column] = str(2.5 * float(cells[column]))
    altered.evaluations.write_text("\n".join([header, *rows[:-1], ",".join(cells)]) + "\n")
    result["final"]["fid_40"] = float(cells[column])
    del result["schema"], result["sha256"]
    altered.finish(result)
    again = cli("reproduce", one_run, *CPU, "--out", out)
    assert again.exit_code == 1  # the copy of the run has no other seeds beside it
    assert "cannot be judged" in again.stdout
    assert "no block has runs of two seeds" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--out", "results"), "into its own directory"),
        (("--device", "tpu"), "no device 'tpu'"),
        (("--data", "gone"), "takes no path"),
        (("--backend", "fast"), "train.backend"),
        (("--gpus", "17"), "a batch of 16 images cannot be divided over 17"),
    ],
)
def test_wrong_requests_write_nothing(mistake, one_run, elsewhere, arguments, reason):
    (elsewhere / "results").mkdir()
    shutil.copytree(one_run.parents[2], elsewhere / "results", dirs_exist_ok=True)
    (run,) = elsewhere.glob("results/digits/adaln-zero/*")
    before = sorted(elsewhere.rglob("*"))
    assert reason in " ".join(mistake("reproduce", run, *CPU, *arguments))
    assert sorted(elsewhere.rglob("*")) == before


def test_only_a_whole_run_is_repeated(cli, mistake, one_run, tmp_path):
    assert "gone does not exist" in cli("reproduce", tmp_path / "gone").stderr
    (one_run / "eval.csv").write_text((one_run / "eval.csv").read_text().replace("1", "2"))
    result = cli("reproduce", one_run, *CPU, "--out", tmp_path / "again")
    assert "eval.csv was changed after the run ended" in result.stderr
    assert str(one_run) in result.stderr
    (one_run / "result.json").unlink()
    assert "is not complete" in mistake("reproduce", one_run, *CPU, "--out", tmp_path / "again")[0]
    assert not (tmp_path / "again").exists()


def test_images_may_lie_elsewhere_but_are_the_same(cli, mistake, succeed, tiny, elsewhere):
    for name, add in (("a.npz", 0), ("b.npz", 1)):
        images = (np.arange(60 * 64).reshape(60, 8, 8, 1) * 7 + add) % 256
        np.savez(elsewhere / name, images=images.astype(np.uint8), labels=np.arange(60) % 10)
    given = ("--preset", "digits", "--data", "a.npz")
    run = cli("run", "--block", "none", *tiny, *given).stdout.splitlines()[1]
    (elsewhere / "a.npz").rename("c.npz")
    assert "a.npz" in mistake("reproduce", run, *CPU)[0]
    assert "are not those that" in mistake("reproduce", run, *CPU, "--data", "b.npz")[0]
    result = succeed("reproduce", run, *CPU, "--data", "c.npz")
    assert "equal. " in result.stdout


def test_a_forecast_writes_nothing(succeed, one_run, elsewhere):
    result = succeed("reproduce", one_run, *CPU, "--dry-run", "--json", "--quiet")
    (row,) = json.loads(result.stdout)
    assert row["path"].startswith("reproduced/digits/adaln-zero/seed0-")
    assert not any(elsewhere.iterdir())


def test_ones_own_block_is_executed_from_where_it_was(cli, mistake, succeed, tiny, elsewhere):
    text = "from ditbench.models.blocks.in_context import InContextBlock\n"
    file = elsewhere / "again.py"
    file.write_text(text + "class Again(InContextBlock):\n    pass\n")
    run = cli("run", "--block", f"{file}:Again", *tiny).stdout.splitlines()[-1]
    succeed("reproduce", run, *CPU)
    file.unlink()
    assert "pass --trust to execute it" in mistake("reproduce", run, *CPU, "--out", "elsewhere")[1]
    result = succeed("reproduce", run, *CPU, "--out", "elsewhere", "--trust")
    assert "equal. " in result.stdout
    assert result.stdout.endswith("What differs (A is the recorded run): none\n\n")


def agrees_in_another_directory(succeed, run, monkeypatch):
    Path("further").mkdir()
    monkeypatch.chdir("further")
    result = succeed("reproduce", run, *CPU)
    assert "equal. " in result.stdout
    assert result.stdout.endswith("What differs (A is the recorded run): none\n\n")


def test_a_run_that_starts_from_weights_finds_them_from_elsewhere(
    cli, succeed, mistake, one_run, tiny, elsewhere, monkeypatch
):
    weights = shutil.copytree(one_run, elsewhere / "weights")
    run = cli("run", "--block", "adaln-zero", *tiny, "--init", "weights").stdout.splitlines()[-1]
    run = (elsewhere / run).absolute()
    agrees_in_another_directory(succeed, run, monkeypatch)
    shutil.rmtree(weights)
    assert f"is gone: {weights}" in mistake("reproduce", run, *CPU, "--out", "again")[0]
    assert not Path("again").exists()


def test_a_run_of_another_version_is_refused_in_words_that_help(cli, one_run, elsewhere):
    run = RunDirectory(one_run)
    run.config.write_text(run.config.read_text().replace("[train]", "[train]\nnew_key = 1"))
    result = json.loads(run.result.read_text())
    del result["schema"], result["sha256"]
    run.finish(result)
    error, hint = cli("reproduce", one_run, *CPU).stderr.splitlines()
    assert error == f"error: {one_run}/config.toml: unknown key 'train.new_key'"
    assert "the version of ditbench that wrote it" in hint
    run.result.write_text(run.result.read_text().replace('"schema": 2', '"schema": 3'))
    assert "use the ditbench that wrote it" in cli("reproduce", one_run, *CPU).stderr
    assert not any(elsewhere.iterdir())


def test_a_continued_run_is_trained_again_from_its_parent(
    cli, succeed, mistake, one_run, elsewhere, monkeypatch
):
    shutil.copytree(one_run, elsewhere / "before")
    given = ("--continue", "before", "--steps", 30, *CPU, "--out", "longer")
    run = (elsewhere / cli("run", *given).stdout.splitlines()[-1]).absolute()
    agrees_in_another_directory(succeed, run, monkeypatch)
    shutil.rmtree(elsewhere / "before")
    error, _ = mistake("reproduce", run, *CPU, "--out", "again")
    assert "what the run starts from is gone" in error
    assert not Path("again").exists()
