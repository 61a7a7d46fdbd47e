"""`ditbench list`, `show` and `diff`, and `compare` and `plot` of several directories."""

import json
import re
import shutil
from pathlib import Path

import pytest
from found import only

from ditbench.rundir import RunDirectory

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "pilot" / "digits"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Runs of two people: complete, begun, damaged; one of them twice."""
    root = tmp_path_factory.mktemp("shelf")
    for person, block, seed in (("ann", "adaln", 0), ("ann", "adaln-zero", 0), ("ann", "adaln", 1),
                                ("bob", "adaln-zero", 1), ("bob", "adaln-zero", 0)):  # fmt: skip
        source = next(REFERENCE.glob(f"{block}/seed{seed}-*"))
        shutil.copytree(source, root / person / "digits" / block / source.name)
    begun = RunDirectory(next((root / "ann").glob("digits/adaln/seed1-*")))
    begun.result.unlink()
    begun.train.write_text("".join(begun.train.read_text().splitlines(True)[:101]))
    begun.evaluations.write_text("".join(begun.evaluations.read_text().splitlines(True)[:4]))
    return root


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr("ditbench.cli.output.printing.PIPE_WIDTH", 80)


def test_several_directories_are_one_comparison(cli, succeed, shelf):
    result = succeed("compare", shelf / "ann", shelf / "bob", "--format", "json")
    rows = {row["block"]: row for row in json.loads(result.stdout)["groups"][0]["rows"]}
    assert {block: row["seeds"] for block, row in rows.items()} == {"adaln": 1, "adaln-zero": 2}
    skipped = [line for line in result.stderr.splitlines() if line.startswith("skipped")]
    assert len(skipped) == 2  # the incomplete one, and one of the duplicates
    assert sum("duplicate" in line for line in skipped) == 1
    both = cli("compare", shelf, "--format", "json")
    assert both.stdout == result.stdout


def test_a_place_that_is_named_twice_is_read_once(cli, shelf):
    ann = shelf / "ann"
    once = cli("compare", ann, "--format", "csv")
    twice = cli("compare", ann, ann / "digits", ann / "digits" / ".." / "digits", "--format", "csv")
    assert twice.stdout == once.stdout
    assert twice.stderr == once.stderr


def test_many_duplicates_are_one_line(cli, shelf, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(shelf / "bob", tmp_path / name)
    result = cli("compare", shelf / "bob", tmp_path / "one", tmp_path / "two")
    (line,) = result.stderr.splitlines()
    assert line.startswith("skipped: 4 duplicates of newer runs, such as ")


def test_many_runs_without_a_result_are_a_line_for_each_kind(cli, shelf, tmp_path):
    for number, name in enumerate(("one", "two", "three", "four")):
        copy = shutil.copytree(only(shelf, "ann/digits/adaln/seed0-*"), tmp_path / name)
        (copy / "result.json").unlink()
        if number % 2:
            (copy / "failure.json").write_text('{"reason": "diverged"}')
    result = cli("compare", shelf / "bob", tmp_path)
    lines = [line for line in result.stderr.splitlines() if str(tmp_path) in line]
    assert lines == [
        f"skipped: 2 incomplete runs, such as {tmp_path / 'one'}",
        f"skipped: 2 failed runs, such as {tmp_path / 'four'}",
    ]


def test_a_directory_without_runs_beside_others_is_no_error(mistake, succeed, shelf, tmp_path):
    succeed("compare", shelf / "bob", tmp_path)
    assert "no complete run" in mistake("compare", tmp_path, tmp_path)[0]
    assert "no does not exist" in mistake("compare", shelf / "bob", tmp_path / "no")[0]


def test_a_plot_draws_runs_of_several_directories(succeed, shelf, tmp_path):
    figure = tmp_path / "curve.svg"
    succeed("plot", shelf / "ann", shelf / "bob", "-o", figure)
    for kind in ("pareto", "samples"):
        succeed("plot", shelf / "ann", shelf / "bob", "--kind", kind, "-o", figure)


def test_list_says_how_far_each_run_is(cli, shelf):
    rows = json.loads(cli("list", shelf / "ann", "--json").stdout)
    found = {(row["block"], row["seed"]): row for row in rows}
    done, begun = found["adaln", 0], found["adaln", 1]
    assert (done["state"], done["step"], done["steps"], done["done"]) == ("done", 1200, 1200, 1.0)
    assert (begun["state"], begun["step"], begun["done"]) == ("stopped", 600, 0.5)
    assert begun["fid"] > done["fid"] > 0
    path = only(shelf, "ann/digits/adaln/seed0-*")
    assert done["path"] == str(path)
    assert done["bytes"] == sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    assert json.loads(cli("list", shelf / "ann", "--format", "json").stdout) == rows
    assert len(json.loads(cli("list", shelf / "ann", shelf, "--json").stdout)) == 5


@pytest.mark.usefixtures("narrow")
def test_list_fits_a_terminal_of_80_columns(succeed, shelf):
    result = succeed("list", REFERENCE, shelf / "ann")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= max(80, len(str(shelf)) + 60)
    table = [line for line in lines if not line.startswith("/")]
    assert max(map(len, table)) <= 80
    assert "…" not in result.stdout
    (begun,) = (line for line in table if " stopped " in line)
    assert begun.split()[:5] == [begun.split()[0], "stopped", "600", "1,200", "50%"]
    (heading,) = (line for line in lines if line.startswith(str(shelf)))
    assert heading.split(": ")[1].startswith("3 runs (2 done, 1 stopped), ")
    assert re.fullmatch(r"\d directories: \d+ runs \(\d+ done, 1 stopped\), [\d.]+ MB", lines[0])


def test_a_budget_of_seconds_or_flops_has_a_share_too(cli, shelf, tmp_path):
    begun = shutil.copytree(only(shelf, "ann/digits/adaln/seed1-*"), tmp_path / "a" / "seed1-x")
    config, text = begun / "config.toml", (begun / "config.toml").read_text()
    cost = json.loads((begun / "cost.json").read_text())
    seconds = float((begun / "train.csv").read_text().splitlines()[-1].split(",")[2])
    config.write_text(text.replace("steps = 1200", f"seconds = {4 * seconds}"))
    (row,) = json.loads(cli("list", tmp_path, "--json").stdout)
    assert (row["done"], row["steps"]) == (pytest.approx(0.25), None)
    config.write_text(text.replace("steps = 1200", f"flops = {cost['train_flops']}"))
    (row,) = json.loads(cli("list", tmp_path, "--json").stdout)
    assert (row["done"], row["steps"]) == (0.5, 1200)


def test_a_damaged_run_is_named_and_the_others_listed(succeed, shelf, tmp_path):
    ann = shutil.copytree(shelf / "ann", tmp_path / "ann")
    (only(ann, "digits/adaln-zero/*") / "config.toml").write_text("[train")
    (only(ann, "digits/adaln/seed0-*") / "eval.csv").write_text("a,b\n1,2\n")
    result = succeed("list", ann)
    assert result.stderr.count("skipped: ") == 2
    assert "seed1-" in result.stdout


# Reorders what follows, clears the screen, forges a line.
DECEITFUL = "\u202erun\x1b[2J\nerror: none"


@pytest.mark.parametrize(
    "command",
    ["list", "list --json", "list --format md", "show", "show --json", "diff", "rm", "sample"],
)
def test_no_name_reorders_or_forges_lines(cli, shelf, tmp_path, command):
    place = tmp_path / DECEITFUL
    shutil.copytree(shelf / "bob", place)
    (place / "weights" / DECEITFUL / "evals").mkdir(parents=True)
    (place / "weights" / DECEITFUL / "evals" / "first.json").write_text("{}")
    name, *options = command.split()
    runs = sorted(place.glob("digits/adaln-zero/seed?-*"))
    of = {"show": runs[:1], "diff": runs, "rm": runs, "sample": runs[:1]}.get(name, [place])
    result = cli(name, *of, *options)
    printed = (result.stdout + result.stderr).split("\n")
    assert "202e" in "".join(printed)
    assert all(line.isprintable() and not line.startswith("error: none") for line in printed)
    if options == ["--json"]:
        found = json.loads(result.stdout)
        assert DECEITFUL in (found if name == "show" else found[0])["path"]


def test_nothing_to_list_is_said(cli, tmp_path):
    result = cli("list", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"no run in {tmp_path}\n"
    assert json.loads(cli("list", tmp_path, "--json").stdout) == []


@pytest.mark.usefixtures("narrow")
def test_show_begins_with_the_answer(cli, shelf):
    path = only(shelf, "ann/digits/adaln/seed0-*")
    result = cli("show", path)
    assert (result.exit_code, result.stderr) == (0, "")
    first, second, *rest = result.stdout.splitlines()
    assert first == "adaln, seed 0: FID-1K 8.22 (digits features) after 1,200 steps"
    assert second.startswith(f"{path}: done, 100% of its budget, ")
    assert max(map(len, rest)) <= 80
    titles = ["Metric", "Settings that differ from the preset digits", "Environment", "Files"]
    places = [next(n for n, line in enumerate(rest) if line.startswith(t)) for t in titles]
    assert places == sorted(places)


def test_show_as_json_has_the_differences_from_the_preset(cli, shelf):
    path = only(shelf, "ann/digits/adaln/seed0-*")
    shown = json.loads(cli("show", path, "--json").stdout)
    assert (shown["block"], shown["seed"], shown["state"], shown["preset"]) == (
        "adaln", 0, "done", "digits",
    )  # fmt: skip
    result = json.loads((path / "result.json").read_text())
    assert shown["metrics"]["fid"] == result["final"]["fid_1k"]
    # What the plan has filled in; nothing else was changed.
    assert {row["key"]: (row["value"], row["preset"]) for row in shown["settings"]} == {
        "train.precision": ("fp32", "auto"), "eval.sampler": ("euler", "auto"),
    }  # fmt: skip
    assert {file["name"] for file in shown["files"]} >= {"config.toml", "samples/"}
    assert shown["environment"]["device"] == "cpu"


def test_a_run_of_ones_own_preset_shows_all_settings(cli, shelf, tmp_path):
    path = shutil.copytree(only(shelf, "ann/digits/adaln/seed1-*"), tmp_path / "seed1-x")
    config = path / "config.toml"
    config.write_text(config.read_text().replace('preset = "digits"', 'preset = "cats"'))
    shown = json.loads(cli("show", tmp_path, "--json").stdout)
    assert shown["preset"] is None
    assert {row["key"]: row["value"] for row in shown["settings"]}["train.lr"] == 1e-3


def test_an_unfinished_run_shows_its_last_evaluation(succeed, shelf):
    result = succeed("show", only(shelf, "ann/digits/adaln/seed1-*"))
    lines = result.stdout.splitlines()
    assert lines[0].startswith("adaln, seed 1: FID-1K ")
    assert lines[0].endswith("after 600 steps")
    assert "stopped, 50% of its budget" in lines[1]


def test_an_edited_run_is_shown_with_a_warning(succeed, one_run):
    with (one_run / "train.csv").open("a") as file:
        file.write("\n")
    result = succeed("show", one_run)
    assert result.stderr.startswith("warning: this run is in no table: train.csv was changed")
    assert "FID" in result.stdout.splitlines()[0]


@pytest.mark.usefixtures("narrow")
def test_diff_shows_scores_and_what_differs(cli, shelf):
    a = only(shelf, "ann/digits/adaln/seed0-*")
    b = only(shelf, "bob/digits/adaln-zero/seed1-*")
    result = cli("diff", a, b)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        f"A: {a}",
        "   adaln, seed 0: FID-1K 8.22 (digits features) after 1,200 steps",
    ]
    (fid,) = (line.split() for line in lines if line.startswith("FID-1K"))
    assert float(fid[-1]) == pytest.approx(float(fid[-2]) / float(fid[-3]), rel=0.01)
    rows = json.loads(cli("diff", a, b, "--json").stdout)
    assert [(row["source"], row["key"]) for row in rows["differences"][:2]] == [
        ("settings", "block"), ("settings", "seed"),
    ]  # fmt: skip
    assert all(row["a"] != row["b"] for row in rows["differences"])


def test_what_cannot_be_compared_is_named(mistake, shelf, tmp_path):
    (tmp_path / "config.toml").write_text("[train")
    assert "config.toml is not valid TOML" in mistake("diff", tmp_path, tmp_path)[0]
    assert "none does not exist" in mistake("diff", shelf / "none", tmp_path)[0]
    assert "holds 5 runs, not one" in mistake("diff", tmp_path, shelf)[0]


def test_two_equal_runs_have_no_difference(cli, shelf):
    a = only(shelf, "ann/digits/adaln-zero/seed0-*")
    b = only(shelf, "bob/digits/adaln-zero/seed0-*")
    lines = cli("diff", a, b).stdout.splitlines()
    assert lines[-1].startswith("no difference")
    (gmacs,) = (line for line in lines if "GMACs" in line)
    assert gmacs.split()[-1] == "1.00"


def test_scores_on_other_images_have_no_ratio(cli, shelf, tmp_path):
    a = only(shelf, "ann/digits/adaln/seed0-*")
    b = shutil.copytree(a, tmp_path / "seed0-x")
    result = json.loads((b / "result.json").read_text())
    (b / "result.json").write_text(json.dumps(result | {"dataset_digest": "0" * 64}))
    shown = cli("diff", a, b).stdout
    assert "B / A" not in shown
    assert "not comparable" in shown


@pytest.mark.parametrize("command", ["show", "diff"])
def test_what_is_not_one_run_is_refused(mistake, shelf, tmp_path, command):
    more = [tmp_path] * (command == "diff")
    for place, reason in ((tmp_path, "is not a run directory"), (shelf, "holds 5 runs, not one")):
        assert reason in mistake(command, place, *more)[0]
