"""`ditbench eval`, `compare --eval` and `sample --export`, as a user calls them."""

import json
import shutil

import pytest
from PIL import Image

NAME = "cfg2-euler3-40-digits"


@pytest.fixture
def own_results(results, tmp_path):
    """A copy of the results, to be written to."""
    return shutil.copytree(results, tmp_path / "results")


def test_scores_are_printed_written_and_ranked_by(cli, succeed, own_results):
    result = succeed("eval", own_results, "--cfg-scale", "1,2", "--draws", 2, "--device", "cpu")
    setting, *_ = lines = result.stdout.splitlines()
    assert setting == "euler, 3 steps, digits features"
    (header,) = (line.split() for line in lines if line.startswith("Block"))
    assert header[:4] == ["Block", "Seed", "Guidance", "Draws"]
    rows = lines[lines.index(next(line for line in lines if line.startswith("───"))) + 1 :]
    cases = [["0", "1"], ["0", "2"], ["1", "1"], ["1", "2"]]
    assert [row.split()[1:3] for row in rows] == cases * 4
    assert result.stderr.count(", draw 1  FID-40 ") == 16
    assert "[32/32]" in result.stderr
    assert len(list(own_results.rglob(f"evals/{NAME}.json"))) == 8
    again = cli("eval", own_results, "--cfg-scale", "1,2", "--draws", 2, "--device", "cpu")
    assert again.stdout == result.stdout
    assert again.stderr == "16 of 16 are already complete\n"
    ranked = succeed("compare", own_results, "--eval", NAME)
    assert f"guidance 2, evaluation {NAME}" in ranked.stdout.splitlines()[-1]
    succeed("plot", own_results, "--eval", NAME, "--kind", "pareto", "-o",
                  own_results / "p.png")  # fmt: skip
    # The runs' own scores are as they were.
    succeed("compare", own_results)


def test_one_run_as_json(cli, one_run):
    result = cli("eval", one_run, "--cfg-scale", "2", "--json", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    (row,) = json.loads(result.stdout)
    assert (row["evaluation"], row["cfg_scale"], row["draws"]) == (NAME, 2.0, 1)
    assert row["path"] == str(one_run)
    content = json.loads((one_run / "evals" / f"{NAME}.json").read_text())
    assert row["fid"] == content["draws"][0]["fid_40"]
    assert row["fid_std"] is None


@pytest.mark.slow
def test_several_processes_score_alike(cli, succeed, own_results, tmp_path):
    """Of two runs, with two settings, of which one is complete before."""
    alone = shutil.copytree(own_results / "digits/adaln", tmp_path / "alone/digits/adaln")
    command = ("--cfg-scale", "1,2", "--draws", 2, "--device", "cpu", "--json", "--quiet")
    one = cli("eval", alone, *command)
    succeed("eval", own_results / "digits/adaln", *command[2:])
    two = cli("eval", own_results / "digits/adaln", *command, "--gpus", 2)
    assert (two.exit_code, two.stderr) == (0, "")
    rows = zip(json.loads(one.stdout), json.loads(two.stdout), strict=True)
    for row, other in rows:
        assert row["evaluation"] == other["evaluation"]
        assert other["draws"] == 2
        assert other["fid"] == pytest.approx(row["fid"], rel=1e-4)
        assert other["fid_std"] == pytest.approx(row["fid_std"], rel=1e-3)
    assert not list(own_results.rglob("evals/.*"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--cfg-scale", "x"), "is not a list of guidance scales"),
        (("--cfg-scale", "1,nan"), "is not a list of guidance scales"),
        (("--cfg-scale", "-1"), "is not a list of guidance scales"),
        (("--samples", "many"), "--samples 'many'"),
        (("--sampler", "ddim"), "ddim"),
        (("--features", "inceptoin"), "unknown features 'inceptoin'"),
        (("--format", "cvs"), "unknown format 'cvs'"),
        (("--json", "--format", "csv"), "are given together"),
        (("--data", "gone"), "takes no path"),
        (("--draws", "0"), "--draws"),
    ],
)
def test_wrong_options_write_nothing(mistake, one_run, options, reason):
    assert reason in mistake("eval", one_run, *options)[0]
    assert not (one_run / "evals").exists()


def test_places_without_runs(mistake, tmp_path):
    for place, reason in ((tmp_path / "gone", "does not exist"), (tmp_path, "no run in")):
        assert reason in mistake("eval", place)[0]


def test_a_run_without_a_checkpoint_is_skipped_if_there_are_others(succeed, mistake, own_results):
    one, *_ = sorted(own_results.glob("digits/adaln/*"))
    (one / "checkpoints" / "latest.safetensors").unlink()
    result = succeed("eval", own_results / "digits" / "adaln", "--quiet", "--json")
    assert len(json.loads(result.stdout)) == 1
    assert f"skipped: {one}" in result.stderr
    assert "has no checkpoint" in mistake("eval", one)[0]


def test_what_an_evaluation_does_not_have_is_refused(mistake, one_run):
    error, _ = mistake("compare", one_run, "--eval", "x", "--target-fid", "3")
    assert "--eval does not use --target-fid" in error
    error, _ = mistake("plot", one_run, "--eval", "x", "--kind", "curve")
    assert "--eval does not fit --kind curve" in error
    assert "has an evaluation 'x'" in mistake("compare", one_run, "--eval", "x")[0]


def test_samples_are_exported(cli, one_run, tmp_path):
    options = ("--export", tmp_path / "out", "--count", "12", "--classes", "3,7")
    result = cli("sample", one_run, *options)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'out'}\n")
    assert result.stderr == "12 images\n"
    files = sorted(file.name for file in (tmp_path / "out").glob("*.png"))
    assert files[:2] == ["000000-3.png", "000001-7.png"]
    assert len(files) == 12
    assert Image.open(tmp_path / "out" / files[0]).size == (8, 8)
    assert cli("sample", one_run, *options).stderr == "12 images, already complete\n"
    one = cli("sample", one_run, "--export", tmp_path / "single", "--count", "1")
    assert one.stderr == "1 image\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--count", "3"), "a grid does not use --count"),
        (("--export", "x", "-o", "x.png"), "--export does not use -o"),
        (("--export", "x", "--per-class", "3"), "--export does not use --per-class"),
        (("--export", "x.png"), "cannot export to x.png"),
        (("--export", "x", "--count", "0"), "--count '0'"),
        (("--export", "x", "--count", "1000M"), "above 10,000,000"),
        (("--export", "x", "--classes", "cat"), "there is no class 'cat'"),
        (("--export", "x", "--sampler", "ddim"), "ddim"),
    ],
)
def test_wrong_options_of_an_export_write_nothing(mistake, one_run, elsewhere, options, reason):
    assert reason in mistake("sample", one_run, *options)[0]
    assert not list(elsewhere.iterdir())
