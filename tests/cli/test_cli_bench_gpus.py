"""`ditbench bench --gpus` as a user meets it, with processes on the CPU."""

import json

import pytest

from ditbench.cli.execution import scaling

BRIEF = (
    *("bench", "--model", "16x1x2/2", "--input", "4x4x3", "--classes", "5", "--batch-size", "4"),
    *("--steps", "10"),
)


@pytest.mark.slow
def test_rows_of_every_number_and_scaling(cli, elsewhere):
    options = ("--device", "cpu", "--gpus", "2,1", "--scaling", "both", "-o", "made/scaling.json")
    result = cli(*BRIEF, *options)
    assert (result.exit_code, result.stdout) == (0, ""), (result.stderr, result.exception)
    assert "measuring adaln-zero 16x1x2/2 on 4x4x3, batch 8, plain, 2 x cpu" in result.stderr
    rows = json.loads((elsewhere / "made/scaling.json").read_text())
    found = [(row["scaling"], row["gpus"], row["batch_size"]) for row in rows]
    assert found == [("weak", 1, 4), ("weak", 2, 8), ("strong", 1, 4), ("strong", 2, 4)]
    for row in rows:
        assert (row["block"], row["model"], row["device"]) == ("adaln-zero", "16x1x2/2", "cpu")
        assert row["images_per_second"] > 0
        assert row["efficiency_to"] == 1
    assert [path.name for path in elsewhere.iterdir()] == ["made"]


CASES = [
    ("--gpus two", "--gpus 'two' is not a whole number", "--gpus"),
    ("--gpus 1,0", "--gpus '0' is not a whole number", "--gpus"),
    ("--gpus 999", "--gpus 999: this machine has", "pass fewer"),
    ("--gpus 2 --device cuda:1", "--device cuda:1 are given together", "CUDA_VISIBLE_DEVICES"),
    ("--gpus 2 --device cpu --scaling wide", "unknown scaling 'wide'", "did you mean weak?"),
    ("--gpus 2 --device cpu --peer diffusers", "--gpus does not use --peer", "leave --peer out"),
    ("--gpus 8 --device cpu --scaling strong", "a batch of 4 cannot be divided over 8", "size 8"),
    ("--gpus 2 --device cpu --model S/4,M/4", "unknown model 'M/4'", "/4"),
]


@pytest.mark.parametrize(("arguments", "error", "hint"), CASES)
def test_a_mistake_is_a_line_and_a_hint(refused, arguments, error, hint):
    refused(error, hint, *BRIEF, *arguments.split(" "))


@pytest.mark.parametrize(("threads", "text"), [(1, ", 1 thread per process,"), (2, ", 2 threads")])
def test_the_number_of_threads_in_the_title(threads, text):
    facts = ("input", "objective", "precision", "device", "torch", "backend", "efficiency_to")
    assert text in scaling._title({**dict.fromkeys(facts, "x"), "threads": threads})
