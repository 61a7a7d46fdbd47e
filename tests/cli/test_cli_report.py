"""Commands that report on runs and models: compare, plot, sample, flops, blocks."""

import csv
import io
import json
import shutil

import pytest
from found import rows_of
from PIL import Image

from ditbench.models.registry import block_names


def test_compare_prints_a_table_and_its_conclusion(cli, results):
    result = cli("compare", results)
    assert (result.exit_code, result.stderr) == (0, "")
    assert all(block in result.stdout for block in block_names("paper"))
    assert "20 steps, batches of 16" in result.stdout
    assert "FID" in result.stdout.splitlines()[0]
    assert "`ditbench compare --plan` shows more" in result.stdout


def test_compare_as_json_and_csv_prints_the_same_numbers(cli, results):
    as_json = rows_of(cli("compare", results, "--format", "json"))
    text = cli("compare", results, "--format", "csv").stdout
    as_csv = list(csv.DictReader(io.StringIO(text)))
    assert {row["block"] for row in as_json} == set(block_names("paper"))
    assert all(row["seeds"] == 2 for row in as_json)
    assert [float(row["fid"]) for row in as_csv] == [row["fid"] for row in as_json]


@pytest.mark.parametrize(("suffix", "kind"), [("csv", "csv"), ("md", "md"), ("tex", "latex"),
                                                ("json", "json")])  # fmt: skip
def test_compare_into_a_file_writes_what_it_would_print(cli, results, tmp_path, suffix, kind):
    file = tmp_path / "made" / f"table.{suffix}"
    result = cli("compare", results, "-o", file)
    assert (result.exit_code, result.stdout) == (0, "")
    assert file.read_text() == cli("compare", results, "--format", kind).stdout


def test_compare_to_another_baseline(cli, results):
    result = cli("compare", results, "--baseline", "adaln", "--format", "json")
    ratios = {row["block"]: row["fid_ratio"] for row in rows_of(result)}
    assert ratios["adaln"] == 1


def test_compare_names_what_it_skips_and_continues(succeed, results, tmp_path):
    copy = shutil.copytree(results, tmp_path / "copy")
    broken = next(copy.glob("digits/adaln/seed0-*"))
    (broken / "result.json").write_text("{")
    result = succeed("compare", copy, "--format", "json")
    assert result.stderr.startswith(f"skipped: {broken}: ")
    assert {row["block"]: row["seeds"] for row in rows_of(result)}["adaln"] == 1


def test_the_reference_runs_are_the_default(cli, results, elsewhere, monkeypatch):
    monkeypatch.setattr("ditbench.cli.options.common.reference_results", lambda: results)
    result = cli("compare", "--format", "json")
    assert len(rows_of(result)) == 4
    assert result.stderr == (
        f"no complete run in results/: these are the reference runs, {results}\n"
    )


def test_runs_of_ones_own_come_before_the_reference_runs(cli, results, one_run, elsewhere):
    shutil.copytree(one_run.parents[2], elsewhere / "results")
    shutil.copytree(results, elsewhere / "results" / "reference")
    for arguments in ((), ("results",)):
        result = cli("compare", *arguments, "--format", "json")
        assert [row["seeds"] for row in rows_of(result)] == [1]
        assert result.stderr == ""


def test_sample_draws_a_column_a_class(cli, one_run, elsewhere):
    result = cli("sample", one_run, "--classes", "3,7", "--per-class", "4", "--sampling-steps", "2",
               "--cfg-scale", "2", "--seed", "5", "--device", "cpu")  # fmt: skip
    assert (result.exit_code, result.stdout) == (0, "samples.png\n"), result.stderr
    with Image.open(elsewhere / "samples.png") as grid:
        assert grid.height == 2 * grid.width


def test_flops_keeps_its_contract(cli):
    result = cli("flops", "--block", "adaln,adaln-zero", "--model", "S/4", "--format", "json")
    rows = json.loads(result.stdout)
    assert [row["block"] for row in rows] == ["adaln", "adaln-zero"]
    for row in rows:
        assert list(row) == ["block", "model", "input", "parameters", "gmacs", "gflops"]
        assert (row["model"], row["input"]) == ("S/4", "32x32x4")
        assert isinstance(row["parameters"], int)
        assert row["gflops"] == 2 * row["gmacs"]


def costs(succeed, *settings, block="adaln-zero"):
    given = [part for setting in settings for part in ("--set", setting)]
    result = succeed("flops", "--block", block, "--model", "S/4", "--format", "json", *given)
    return json.loads(result.stdout)


def test_flops_counts_what_settings_make_of_a_model(succeed):
    (plain,) = costs(succeed)
    # 64 image tokens and 16 more: 384 numbers each to learn, and a quarter more of what all pass.
    (more,) = costs(succeed, "model.registers=16")
    assert more["parameters"] == plain["parameters"] + 16 * 384
    assert 1.2 < more["gmacs"] / plain["gmacs"] < 1.3
    (wider,) = costs(succeed, "model.mlp_ratio=8")
    layers = 12 * 2 * 384 * 4 * 384  # twelve blocks, two layers each, that much more of them
    assert wider["parameters"] == plain["parameters"] + layers + 12 * 4 * 384
    assert wider["gmacs"] == pytest.approx(plain["gmacs"] + layers * 64 / 1e9)


def test_flops_takes_the_options_of_blocks(succeed):
    few, all_ = (
        costs(succeed, f"options.lora_rank={rank}", block="adaln-lora,adaln-zero")
        for rank in (4, 384)
    )
    assert few[0]["parameters"] < all_[0]["parameters"]
    assert few[1] == all_[1]


@pytest.mark.parametrize(
    ("setting", "message", "hint"),
    [
        ("train.lr=1e-3", "--set train.lr does not change the counts", "model.registers"),
        ("model.depth=3", "--set model.depth does not change the counts", "--model"),
        ("model.norm=group", "model.norm", "layer"),
        ("options.lora_rnak=4", "unknown option 'lora_rnak'", "lora_rank"),
        ("registers", "registers", "model.registers"),
    ],
)
def test_flops_refuses_settings_that_change_nothing(mistake, setting, message, hint):
    arguments = ("flops", "--block", "adaln-lora", "--model", "S/4", "--set", setting)
    refusal = " ".join(mistake(*arguments))
    assert message in refusal
    assert hint in refusal


def test_flops_for_people_names_the_papers_unit(cli):
    result = cli("flops", "--block", "adaln-zero", "--model", "S/8", "--format", "md")
    assert "GMACs (paper's Gflops)" in result.stdout
    assert "GFLOPs (2 x GMACs)" in result.stdout


def test_blocks_measures_what_it_prints(cli):
    result = cli("blocks", "--format", "json")
    rows = {row["block"]: row for row in json.loads(result.stdout)}
    assert list(rows) == block_names()
    assert rows["adaln"]["overhead_percent"] == 0
    assert rows["adaln-zero"]["overhead_percent"] == pytest.approx(0.06, abs=0.01)
    four = [rows[name] for name in block_names("paper")]
    assert [row["starts_as"] for row in four] == ["random", "random", "random", "identity"]
    assert all("Peebles" in row["source"] for row in four)
    assert rows["adaln-lora"]["options"] == "lora_rank=288"
    assert rows["in-context"]["own_tokens"] == "t and c"
    reads = [rows[name]["reads"] for name in ("adaln", "no-time", "none")]
    assert reads == ["t, c", "c", "nothing"]
