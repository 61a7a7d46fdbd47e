"""What `ditbench bench` measures: its arithmetic, its order in time, its errors."""

from unittest.mock import Mock

import diffusers
import pytest
import torch
from plans import make_plan, rows

from ditbench.bench import measure
from ditbench.bench.adapters import Candidate
from ditbench.bench.diffusers_peer import EAGER
from ditbench.bench.measure import Row, bench, with_ratios
from ditbench.bench.timing import Length
from ditbench.errors import DitbenchError

TEN_STEPS = Length(seconds=0.01, steps=10)


def silent(_text):
    pass


def test_a_row_is_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    peer = Row("diffusers", make_plan(block="adaln-zero"), EAGER)
    lines = []
    measured = list(bench([*rows("in-context", "adaln-zero"), peer], TEN_STEPS, lines.append))
    assert [row["block"] for row in measured] == ["in-context", "adaln-zero", "diffusers"]
    assert len({row["matmul_tflops_per_second"] for row in measured}) == 1
    for row in measured:
        assert 0 < row["step_ms_p10"] <= row["step_ms_median"] <= row["step_ms_p90"]
        seconds = row["step_ms_median"] / 1e3
        assert row["images_per_second"] == pytest.approx(8 / seconds)
        tflops = row["train_flops_per_step"] / seconds / 1e12
        assert row["train_tflops_per_second"] == pytest.approx(tflops)
        share = tflops / row["matmul_tflops_per_second"]
        assert row["share_of_matmul"] == pytest.approx(share)
        assert row["sampling_images_per_second"] > 0
        assert row["warm_up_seconds"] > 0
        assert (row["parts"], row["steps_per_part"]) == (10, 1)
        assert (row["sampling_steps"], row["sampling_batch_size"]) == (3, 8)
        assert row["peak_memory_bytes"] is None  # of three models in one process
    # The function is the same, and so is what it needs.
    assert measured[2]["train_flops_per_step"] == measured[1]["train_flops_per_step"]
    assert measured[2]["implementation"] == f"diffusers {diffusers.__version__}"
    assert any("in-context" in text for text in lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("global_stream_untouched")
def test_one_row_of_ours_has_its_memory_and_draws_nothing_from_the_global_stream():
    (row,) = rows("adaln-zero")
    (found,) = bench([row], TEN_STEPS, silent)
    # Three forward passes of the batch.
    assert found["train_flops_per_step"] == pytest.approx(3 * 2 * row.plan.cost.gmacs * 1e9 * 8)
    assert found["peak_memory_bytes"] is None or found["peak_memory_bytes"] > 2**20


def test_ratios_are_to_the_reference_and_none_where_it_was_not_measured():
    def row(block, model, backend, milliseconds):
        size = {"model": model, "input": "8x8x2", "batch_size": 4}
        return {**size, "block": block, "backend": backend, "step_ms_median": milliseconds}

    measured = [row("a", "S/2", "plain", 2.0), row("b", "S/2", "plain", 4.0)]
    measured += [row("b", "S/2", "compile", 1.0), row("a", "S/4", "plain", 3.0)]
    found = with_ratios(measured, "b", "plain")
    assert [row["step_ratio"] for row in found] == [0.5, 1.0, 0.25, None]
    assert {row["step_ratio_to"] for row in found} == {"b"}


@pytest.mark.parametrize(("after", "said"), [(95e12, False), (50e12, True)])
def test_a_gpu_that_becomes_slower_is_reported(monkeypatch, after, said):
    speeds, lines = iter([100e12, after]), []
    monkeypatch.setattr(measure, "_matmul_alone", lambda _plan: next(speeds))
    assert len(list(measure._one_by_one(rows("adaln"), TEN_STEPS, lines.append))) == 1
    assert said == any("became slower" in line for line in lines)


# What a machine lacks


class Failing:
    implementation = "none"

    def backend(self, plan):
        return "plain"

    def __init__(self, error):
        self.error = error

    def check(self, plan):
        pass

    def build(self, plan):
        return Candidate(Mock(side_effect=self.error), torch.nn.Identity(), 0)


class NotCompiledError(RuntimeError):
    __module__ = "torch._inductor.exc"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "cpu ran out of memory: batch size 8"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "cpu ran out of memory"),
        (NotCompiledError("no compiler\nand much more"), "backend compile does not work here: no"),
    ],
)
def test_what_a_machine_lacks_is_one_line_and_the_other_rows_are_measured(error, words):
    row = Row("failing", make_plan(), Failing(error))
    failed, measured = bench([row, *rows("adaln")], TEN_STEPS, silent)
    assert isinstance(failed, DitbenchError)
    assert words in failed.message
    assert failed.message.startswith("failing 16x2x2/2 on 8x8x2, batch 8, plain: ")
    assert failed.exit_code == 1
    assert "\n" not in failed.message
    assert failed.__cause__ is failed.__context__ is None  # their frames hold the model
    assert measured["block"] == "adaln"


def test_a_defect_of_ours_stays_one():
    row = Row("failing", make_plan(), Failing(RuntimeError("a defect")))
    with pytest.raises(RuntimeError, match="a defect"):
        list(bench([row], TEN_STEPS, silent))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_memory_of_a_row_that_failed_is_free_for_the_next():
    class Greedy(Failing):
        def build(self, plan):
            kept = []

            def update():
                while True:
                    kept.append(torch.empty(2**30, dtype=torch.uint8, device="cuda"))

            return Candidate(update, torch.nn.Identity(), 0)

    values = {"device": torch.device("cuda"), "train__precision": "bf16"}
    greedy = Row("greedy", make_plan(**values), Greedy(None))
    failed, measured = bench([greedy, *rows("adaln", **values)], Length(seconds=0.2), silent)
    assert "ran out of memory" in failed.message
    assert measured["peak_memory_bytes"] < 2**28
    assert torch.cuda.memory_reserved() < 2**30


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_rows_are_measured_one_by_one_each_with_its_own_memory():
    values = {"device": torch.device("cuda"), "train__precision": "bf16"}
    given = rows("adaln", "adaln-zero", **values)
    given.append(Row("diffusers", make_plan(block="adaln-zero", **values), EAGER))
    measured = list(bench(given, Length(seconds=0.2), silent))
    assert [row["block"] for row in measured] == ["adaln", "adaln-zero", "diffusers"]
    for row in measured:
        assert 0 < row["step_ms_p10"] <= row["step_ms_median"] <= row["step_ms_p90"]
        # Neither the matrices of the matrix product nor the models of other rows.
        assert 0 < row["peak_memory_bytes"] < 2**28
        assert 10 < row["matmul_tflops_per_second"] < 10_000
        assert row["threads"] is None
