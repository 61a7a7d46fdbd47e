"""`ditbench compare`: groups, refusals, forced rankings and the gate."""

import json
import shutil
from pathlib import Path

import pytest
from found import rows_of

from ditbench.config import read_toml, validate

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
RUNS = REFERENCE / "pilot" / "digits"
# The four blocks of the paper, whatever else was run since.
PAPER = (RUNS, "--block", "paper")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """By name: runs with one seed; runs of two weight decays; a damaged run."""
    root = tmp_path_factory.mktemp("compared")
    for block in ("adaln", "adaln-zero"):
        for seed in (0, 1, 2):
            source = next(RUNS.glob(f"{block}/seed{seed}-*"))
            names = ["unlike", "one"] if seed == 0 else ["unlike"]
            for name in names:
                shutil.copytree(source, root / name / block / source.name)
            copy = shutil.copytree(source, root / "unlike" / "decayed" / block / source.name)
            config = (copy / "config.toml").read_text()
            assert "weight_decay = 0.0" in config
            text = config.replace("weight_decay = 0.0", "weight_decay = 0.1")
            (copy / "config.toml").write_text(text)
            result = json.loads((copy / "result.json").read_text())
            result["fingerprint"] = validate(read_toml(copy / "config.toml")).fingerprint
            (copy / "result.json").write_text(json.dumps(result))
    shutil.copytree(next(RUNS.glob("adaln/seed0-*")), root / "damaged")
    (root / "damaged" / "config.toml").write_text("[train")
    return root


def test_the_reference_runs_have_a_leader_with_ratio_interval_and_p(cli):
    result = cli("compare", *PAPER)
    assert (result.exit_code, result.stderr) == (0, "")
    first, *_, note, settings = result.stdout.splitlines()
    assert first.startswith("adaln-zero wins: FID-1K 7.26, 25% below cross-attention, the nearest ")
    assert first.endswith("of 3 (95% CI 19 to 30%, p < 0.001, 5 seeds).")
    assert note.startswith("FID and KID are in digits features, on images of digits: ")
    assert settings.startswith("digits, 8x8x1, 64x4x4/2, flow, 1,200 steps, ")


def test_remarks_that_explain_the_table_are_shown_on_request(cli):
    explained = (
        "Significantly better than each",
        "Ratios to in-context",
        "Times, speed and memory",
    )
    for shown, options in ((False, ()), (True, ("--wide",)), (True, ("--columns", "fid"))):
        text = cli("compare", REFERENCE / "digits", "--block", "paper", *options).stdout
        assert [remark in text for remark in explained] == [shown] * 3
        assert "FID and KID are in digits features" in text


def test_a_narrow_terminal_is_given_all_numbers(cli, monkeypatch):
    monkeypatch.setattr("ditbench.cli.output.printing.PIPE_WIDTH", 80)
    result = cli("compare", *PAPER, "--target-fid", "20", "--wide").stdout
    table = result.split("\n\n", 1)[1].rpartition("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert "…" not in result
    for number in ("7.26 ±1.24", "[5.71, 8.80]", "0.74 [0.64, 0.85]", "0.003", "759"):
        assert number in result


def test_a_target_adds_what_it_took(cli):
    result = cli("compare", *PAPER, "--target-fid", "20", "--format", "json")
    for row in rows_of(result):
        assert row["target_fid"] == 20
        assert row["reached_target"] == 5
        assert 0 < row["steps_to_target"] < 1200
        share = row["train_flops_to_target"] / row["train_flops"]
        assert share == pytest.approx(row["steps_to_target"] / 1200)


def test_of_unlike_runs_groups_are_listed_and_the_one_of_most_runs_is_shown(
    cli, succeed, world, tmp_path
):
    copy = shutil.copytree(world / "unlike", tmp_path / "copy")
    shutil.rmtree(next(copy.glob("adaln/seed2-*")))
    result = succeed("compare", copy)
    assert result.stdout.splitlines()[:4] == [
        "2 groups of runs; > is shown, --group N or NAME shows another:",
        "  1  train.weight_decay 0.0: 2 blocks, 5 runs",
        "> 2  train.weight_decay 0.1: 2 blocks, 6 runs",
        "",
    ]
    assert result.stdout.count("Params") == 1
    second = cli("compare", copy, "--group", "2").stdout
    assert result.stdout.endswith(second)
    assert cli("compare", copy, "--group", "DECAY 0.1").stdout == second
    assert cli("compare", copy, "--group", "1").stdout not in ("", second)
    both = json.loads(cli("compare", copy, "--format", "json").stdout)["groups"]
    assert [each["heading"] for each in both] == [f"train.weight_decay {x}" for x in (0.0, 0.1)]
    (one,) = json.loads(cli("compare", copy, "--group", "2", "--format", "json").stdout)["groups"]
    assert one == both[1]


def test_the_reference_runs_fit_a_screen_of_80_columns(cli, monkeypatch):
    monkeypatch.setattr("ditbench.cli.output.printing.PIPE_WIDTH", 80)
    lines = cli("compare", REFERENCE).stdout.splitlines()
    assert len(lines) < 48

    blocks = [line for line in lines if line.startswith(("joint  ", "none  "))]
    assert len(blocks) == 2  # one table
    assert max(map(len, blocks)) <= 80


def test_columns_can_be_chosen(cli):
    def header(*options):
        text = cli("compare", *PAPER, *options, "--format", "md").stdout
        return next(line for line in text.splitlines() if line.startswith("| Block"))

    assert header("--columns", "kid,n,label_accuracy") == (
        "| Block | KID-1K ↓ | n | Label acc. ↑ |"
    )
    assert header().count("|") == 8
    assert header("--wide").count("|") > 12


def test_one_ranking_of_like_runs_is_not(cli):
    assert cli("compare", *PAPER, "--together").stdout == cli("compare", *PAPER).stdout


@pytest.mark.parametrize("arguments", [["--force"], ["--together", "--force"]])
def test_a_forced_ranking_is_marked(cli, world, arguments):
    def printed(*more):
        answer = cli("compare", world / "unlike", *arguments, *more)
        assert (answer.exit_code, answer.stderr) == (0, "")
        return answer.stdout

    assert printed().startswith("Forced: these runs differ in train.weight_decay")
    rows = json.loads(printed("--format", "json"))["groups"][0]["rows"]
    assert {row["forced"] for row in rows} == {"train.weight_decay"}
    assert len({row["block"] for row in rows}) == len(rows) == 4


def test_with_one_seed_nothing_is_claimed(cli, world):
    result = cli("compare", world / "one").stdout
    assert "one seed cannot separate a difference from noise" in result
    for word in ("signific", "interval", "CI", "Bonferroni", "±", "t test"):
        assert word not in result


def test_a_gate_that_holds_is_silent(cli):
    result = cli("compare", *PAPER, "--fail-if", "fid > 1.05 * baseline")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == cli("compare", *PAPER).stdout


def test_a_gate_that_fails_names_the_rows_and_exits_with_1(cli):
    result = cli("compare", *PAPER, "--fail-if", "fid > 1.02 * baseline")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("failed: adaln: fid > 1.02 * baseline (fid 10.1")
    assert "baseline.fid 9.8" in line
    assert result.stdout == cli("compare", *PAPER).stdout


def test_a_gate_looks_at_every_group(cli, world):
    result = cli("compare", world / "unlike", "--fail-if", "fid > 0")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 4
    for decay in ("0.0", "0.1"):
        assert result.stderr.count(f"adaln (train.weight_decay {decay}): fid > 0") == 1


def test_a_gate_that_cannot_be_checked_fails(cli, world):
    result = cli("compare", world / "one", "--fail-if", "p_bonferroni < 0.05 and fid > baseline")
    assert result.exit_code == 1
    assert "p_bonferroni is unknown" in result.stderr


def test_a_verdict_without_a_winner_says_how_many_seeds_it_takes(cli):
    result = cli("compare", REFERENCE / "pilot/cifar10-ddpm")
    verdict, *notes = result.stdout.splitlines()
    assert verdict.startswith("No winner: adaln-zero leads with FID-10K 16.10, not distinguishable")
    (advice,) = (line for line in notes if "would name" in line)
    assert advice.startswith(
        "10 seeds would name adaln-zero the winner in 80% of cases if it is 10"
    )
    for kind in ("md", "latex"):
        text = cli("compare", REFERENCE / "pilot/cifar10-ddpm", "--format", kind).stdout
        assert "would name" in text
    assert "would name" not in cli("compare", *PAPER).stdout


def test_a_plan_lists_seeds_and_time(cli):
    result = cli("compare", *PAPER, "--plan", "--format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = json.loads(result.stdout)
    assert [row["better"] for row in rows[:3]] == ["5%", "10%", "20%"]
    assert rows[3]["better"].endswith("%, the end of the interval")
    for row in rows:
        assert row["leader"] == "adaln-zero"
        assert row["at_hand"] == 5 < row["seeds_80"] <= row["seeds_90"]
        assert row["seconds_80"] / (row["seeds_80"] - 5) == pytest.approx(
            row["seconds_90"] / (row["seeds_90"] - 5)
        )
    printed = cli("compare", *PAPER, "--plan").stdout
    assert "Seeds for 80% power" in " ".join(printed.split()) or "80%" in printed
    assert "looks at 5 seeds and at this number" in printed


def test_of_several_groups_the_plan_of_the_largest_is_printed(cli):
    pilot = REFERENCE / "pilot"
    listed, table = cli("compare", pilot, "--plan").stdout.split("\n\n", 1)
    assert cli("compare", pilot).stdout.startswith(listed)
    assert table == cli("compare", pilot, "--plan", "--group", "digits").stdout


TOGETHER = "help: leave out --together for a table per group, or use --force"
MISTAKES = [
    ("{unlike} --together", "they differ in train.weight_decay (0.0, 0.1)", TOGETHER),
    ("{one} --plan", "no two blocks share two seeds", ""),
    ("{one} --block adaln,adaln-zro", "adaln-zro", ""),
    ("{unlike} --fail-if fid", "is not a condition", "--fail-if"),
    ("{unlike} --fail-if fdi>1", "unknown column 'fdi'", "fid"),
    ("{unlike} --fail-if __import__('os').abort()>1", "is not a", "--fail-if"),
    ("{unlike} --target-fid 0", "a target FID of 0 cannot be reached", "above 0"),
    ("{unlike} --target-fid nan", "a target FID of nan cannot be reached", "above 0"),
    ("{unlike} --force --baseline adaln-zreo", "unknown baseline", "adaln-zero"),
    ("{one} --plan --fail-if fid>1", "--plan does not use --fail-if", "leave"),
    ("{unlike} --columns fid,kdi", "unknown column 'kdi'", "kid"),
    ("{unlike} --format csv --columns fid", "--format csv does not use --columns", "leave"),
    ("{unlike} --group 3", "--group '3' names no group", "2 (train.weight_decay 0.1)"),
    ("{unlike} --group decay", "--group 'decay' names 2 groups", "by its number"),
    ("{unlike} --plan --wide", "--plan does not use --wide", "leave"),
    ("{one} --plan --force", "--plan does not use --force", "leave"),
    ("{damaged}", "1 skipped", "ditbench run"),
]


@pytest.mark.parametrize(("arguments", "error", "hint"), MISTAKES)
def test_a_mistake_is_one_line_and_a_hint(refused, world, arguments, error, hint):
    places = {name: world / name for name in ("unlike", "one", "damaged")}
    refused(error, hint, "compare", *(part.format(**places) for part in arguments.split(" ")))


def test_some_blocks_of_many(succeed):
    def rows(*names):
        result = succeed("compare", RUNS, "--block", ",".join(names), "--format", "json")
        return {row["block"] for row in rows_of(result)}

    assert rows("adaln", "adaln-zero") == {"adaln", "adaln-zero"}
    assert rows("paper") == {"in-context", "cross-attention", "adaln", "adaln-zero"}
    assert rows(" adaln", "ablation") >= {"adaln", "adaln-zero"}
