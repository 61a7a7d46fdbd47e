"""`ditbench bench` as a user meets it: tables in every format, mistakes in a line, no trace."""

import csv
import io
import json

import pytest

from ditbench.bench import matmul_peak
from ditbench.bench import measure as measuring
from ditbench.errors import DitbenchError
from ditbench.training.device import compile as compiler

BRIEF = (
    *("bench", "--model", "16x1x2/2", "--input", "4x4x3", "--classes", "5", "--batch-size", "4"),
    *("--device", "cpu", "--steps", "10", "--sampling-steps", "2"),
)
KEYS = [
    "block", "implementation", "model", "input", "batch_size", "objective", "precision", "device",
    "threads", "torch", "backend", "parameters", "train_flops_per_step", "step_ms_median",
    "step_ms_p10", "step_ms_p90", "step_ratio", "step_ratio_to", "parts", "steps_per_part",
    "images_per_second",
    "train_tflops_per_second", "matmul_tflops_per_second", "share_of_matmul", "peak_memory_bytes",
    "sampling_images_per_second", "sampling_steps", "sampling_batch_size", "sampler", "cfg_scale",
    "warm_up_seconds",
]  # fmt: skip


@pytest.fixture
def bench(cli, elsewhere, monkeypatch):
    """Call `ditbench bench` on a model that takes no time, where nothing else is."""
    # Some processors take a second for the product in bf16.
    monkeypatch.setattr(matmul_peak, "CPU_SIDE", 64)
    return lambda *arguments: cli(*BRIEF, *arguments)


def test_json_has_stable_names_and_plain_numbers(bench, elsewhere):
    result = bench("--peer", "diffusers", "--format", "json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    blocks = ["in-context", "cross-attention", "adaln", "adaln-zero", "diffusers"]
    assert [row["block"] for row in rows] == blocks
    for row in rows:
        assert list(row) == KEYS
        assert (row["model"], row["input"], row["batch_size"]) == ("16x1x2/2", "4x4x3", 4)
        assert (row["objective"], row["precision"], row["device"]) == ("ddpm", "fp32", "cpu")
        assert row["backend"] == "plain"
        assert (row["sampling_steps"], row["step_ratio_to"]) == (2, "adaln-zero")
        ratio = row["step_ms_median"] / rows[3]["step_ms_median"]
        assert row["step_ratio"] == pytest.approx(ratio)
    assert list(elsewhere.iterdir()) == []


def test_progress_is_printed_on_stderr_unless_quiet(bench):
    result = bench("--block", "adaln", "--format", "csv")
    assert result.stdout.startswith("block,implementation,model,")
    assert "adaln 16x1x2/2 on 4x4x3, batch 4, plain" in result.stderr
    assert bench("--block", "adaln", "--format", "csv", "--quiet").stderr == ""


@pytest.mark.parametrize(("kind", "sign"), [("rich", "Step"), ("md", "| :---"),
                                            ("latex", r"\toprule")])  # fmt: skip
def test_tables_for_people(bench, kind, sign):
    result = bench("--block", "adaln,in-context", "--format", kind)
    assert result.exit_code == 0
    assert sign in result.stdout
    for word in ("adaln", "16x1x2/2", "4x4x3", "fp32", "cpu"):
        assert word in result.stdout


def test_conditions_are_in_the_title_if_they_are_those_of_all_rows(bench):
    options = ("--block", "adaln", "--no-sampling", "--model", "16x1x2/2,16x2x2/2")
    table = bench(*options, "--format", "rich").stdout
    title, header = table.partition("──")[0].split("\n", 1)
    assert title.startswith("In all rows: random 4x4x3, batches of 4, ddpm, fp32, cpu")
    assert "Model" in header
    for word in ("Input", "Batch", "Backend", "Sampl", "Peak"):
        assert word not in header
    assert "Sampling" not in title
    (row,) = json.loads(bench("--block", "adaln", "--no-sampling", "--format", "json").stdout)
    assert list(row) == KEYS
    assert row["sampler"] is row["sampling_images_per_second"] is None
    assert row["warm_up_seconds"] > 0


def test_into_a_file_goes_what_would_be_printed(bench, elsewhere):
    result = bench("--block", "adaln", "-o", "made/bench.csv")
    assert (result.exit_code, result.stdout) == (0, "")
    (row,) = csv.DictReader(io.StringIO((elsewhere / "made/bench.csv").read_text()))
    assert list(row) == KEYS
    assert float(row["step_ratio"]) == 1.0
    assert [path.name for path in elsewhere.iterdir()] == ["made"]


def test_without_adaln_zero_the_first_block_is_the_reference(bench):
    rows = json.loads(bench("--block", "adaln,in-context", "--format", "json").stdout)
    assert [row["step_ratio_to"] for row in rows] == ["adaln", "adaln"]
    assert rows[0]["step_ratio"] == 1.0


def test_lists_are_combined_and_each_size_has_its_peer_and_reference(bench):
    lists = ("--model", "16x1x2/2,16x2x2/2:2", "--batch-size", "4,3", "--input", "4x4x3,8x8x3")
    names = ("--block", "adaln,adaln-zero", "--peer", "diffusers", "--format", "json")
    rows = json.loads(bench(*lists, *names).stdout)
    sizes = [
        (model, batch_size, size)
        for size in ("4x4x3", "8x8x3")
        for model, batch_size in [("16x1x2/2", 4), ("16x1x2/2", 3), ("16x2x2/2", 2)]
    ]
    blocks = ("adaln", "adaln-zero", "diffusers")
    found = [(row["model"], row["batch_size"], row["input"], row["block"]) for row in rows]
    assert found == [(*size, block) for size in sizes for block in blocks]
    assert [row["step_ratio"] for row in rows if row["block"] == "adaln-zero"] == [1.0] * 6
    # Of the row that it is said to be of: each size has other FLOPs.
    flops = [row["train_flops_per_step"] for row in rows if row["block"] == "adaln-zero"]
    assert len(set(flops)) == 6


def test_each_backend_is_a_row_and_one_that_fails_is_skipped_with_a_line(bench, monkeypatch):
    def facts(row):
        backend = row.adapter.backend(row.plan)
        if row.plan.cost.model == "16x2x2/2" and backend == "plain":
            return DitbenchError("no room", "less", 1)
        return ROW | {"block": row.name, "model": row.plan.cost.model, "backend": backend}

    monkeypatch.setattr(compiler, "unavailable_reason", lambda _device: None)
    monkeypatch.setattr(measuring, "bench", lambda rows, *_: map(facts, rows))
    lists = ("--model", "16x1x2/2,16x2x2/2", "--backend", "plain,compile")
    result = bench(*lists, "--block", "adaln", "--peer", "diffusers", "--format", "json")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-3:] == ["skipped: no room", "error: no room", "help: less"]
    rows = json.loads(result.stdout)
    names = [(row["block"], row["model"], row["backend"], row["step_ratio"]) for row in rows]
    assert names == [
        ("adaln", "16x1x2/2", "plain", 1.0),
        ("adaln", "16x1x2/2", "compile", 1.0),
        ("diffusers", "16x1x2/2", "plain", 1.0),
        ("adaln", "16x2x2/2", "compile", None),  # the reference is the first backend
    ]


def test_options_and_settings_reach_the_run(bench):
    options = ("--objective", "flow", "--precision", "bf16", "--set", "eval.batch_size=3",
               "--set", "eval.sampler=heun", "--set", "eval.cfg_scale=2.0")  # fmt: skip
    (row,) = json.loads(bench("--block", "adaln", "--format", "json", *options).stdout)
    assert (row["objective"], row["precision"], row["sampler"]) == ("flow", "bf16", "heun")
    assert (row["sampling_batch_size"], row["cfg_scale"]) == (3, 2.0)


def test_a_setting_is_stronger_than_a_default(cli):
    settings = ("objective.name=flow", "train.batch_size=4", "eval.batch_size=2")
    options = [part for setting in settings for part in ("--set", setting)]
    brief = [part for part in BRIEF if part not in ("--batch-size", "4")]
    result = cli(*brief, "--block", "adaln", "--format", "json", *options)
    (row,) = json.loads(result.stdout)
    assert (row["objective"], row["batch_size"], row["sampling_batch_size"]) == ("flow", 4, 2)


CASES = [
    ("--block adalnn", "unknown block 'adalnn'", "adaln"),
    ("--model M/2", "unknown model 'M/2'", "/2"),
    ("--input 4x4", "'4x4' is not an input size", "32x32x4"),
    ("--input 5x5x3", "patch size 2 does not divide 5x5", "--model"),
    ("--peer difusers", "unknown peer 'difusers'", "diffusers"),
    ("--peer diffusers,", "unknown peer ''", "known: diffusers"),
    ("--peer diffusers --input 4x8x3", "takes square images, not 4x8x3", "--peer"),
    ("--backend fast", "train.backend = 'fast'", "train.backend"),
    ("--device tpu", "no device 'tpu'", "--device"),
    ("--precision fp4", "train.precision = 'fp4'", "train.precision"),
    ("--objective flo", "unknown objective 'flo'", "did you mean flow?"),
    ("--set train.lrr=1", "unknown key 'train.lrr'", "train.lr"),
    ("--set eval.sampler=eulr", "eulr", "ddpm"),
    ("--sampling-steps 1001", "sampling_steps = 1001 is out of range", "from 1 to 1000"),
    ("--steps 9", "--steps 9 is too few", "--steps 10"),
    ("--steps many", "--steps 'many' is not a whole number", "--steps 8"),
    ("--steps 10 --seconds 1", "--seconds and --steps are given together", "omit one"),
    ("--format jsn", "unknown format 'jsn'", "did you mean json?"),
    ("-o bench.txt", "unknown suffix '.txt'", "--format"),
    ("--batch-size 0", "--batch-size '0' is not a whole number", "--batch-size 8"),
    ("--model S/4,S/2:", "--batch-size '' is not a whole number", "--batch-size 8"),
    ("--model 16x1x2/2,S/8", "patch size 8 does not divide 4x4", "--model"),
    ("--backend plain,fast", "train.backend = 'fast'", "train.backend"),
    ("--classes 0", "'--classes'", "ditbench bench --help"),
]


@pytest.mark.parametrize(("arguments", "error", "hint"), CASES)
def test_a_mistake_is_a_line_and_a_hint(refused, arguments, error, hint):
    refused(error, hint, *BRIEF, *arguments.split(" "))


def test_a_batch_beyond_memory_fails_in_a_line(bench):
    result = bench("--batch-size", "1" + "0" * 12)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "too large for memory" in result.stderr
    assert "help: lower --batch-size" in result.stderr


ROW = {
    "block": "adaln", "model": "S/4", "input": "4x4x3", "batch_size": 4, "backend": "plain",
    "step_ms_median": 2.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (DitbenchError("no room", "less", 1), 1, "no room"),
    ],
)
@pytest.mark.parametrize("measured", [0, 1])
def test_rows_measured_before_an_error_are_printed(
    bench, monkeypatch, error, code, words, measured
):
    def broken_off(_rows, _length, _say):
        yield from [ROW] * measured
        raise error

    monkeypatch.setattr(measuring, "bench", broken_off)
    result = bench("--block", "adaln,in-context", "--format", "json")
    assert result.exit_code == code
    assert words in result.stderr
    rows = json.loads(result.stdout) if result.stdout else []
    assert [(row["block"], row["step_ratio"]) for row in rows] == [("adaln", 1.0)] * measured
