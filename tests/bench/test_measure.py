"""What `ditbench bench` measures: its arithmetic, its order in time, and peers that are peers."""

import importlib.util
from statistics import median

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ditbench.bench import measure as module
from ditbench.bench import synthetic, timing
from ditbench.bench.adapters import PEERS, Candidate, Ours, check_peer, load_peer
from ditbench.bench.diffusers_peer import EAGER, DiffusersDiT
from ditbench.bench.matmul_peak import Matmul
from ditbench.bench.measure import Row, bench, with_ratios
from ditbench.bench.plain_trainer import EMA_DECAY, PlainTrainer
from ditbench.bench.synthetic import plan_on, random_images
from ditbench.bench.timing import LEAST_PARTS, PARTS, Length, Spread, Timed, time_in_turn
from ditbench.config import load
from ditbench.errors import DitbenchError

CPU = torch.device("cpu")
TINY = {
    "model.hidden_size": 16,
    "model.depth": 2,
    "model.num_heads": 2,
    "objective.name": "ddpm",
    "train.batch_size": 8,
    "train.precision": "fp32",
    "eval.batch_size": 8,
    "eval.sampling_steps": 3,
}
TEN_STEPS = Length(seconds=0.01, steps=10)


def make_plan(height=8, width=8, channels=2, device=CPU, **values):
    overrides = TINY | {key.replace("__", "."): value for key, value in values.items()}
    config = load("digits", overrides=overrides)
    images = random_images(height, width, channels, 10, least=config.train.batch_size)
    return plan_on(images, config, device)


def rows(*blocks, **values):
    return [Row(block, make_plan(block=block, **values), Ours()) for block in blocks]


def silent(_text):
    pass


def test_a_row_is_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    peer = Row("diffusers", make_plan(block="adaln-zero"), EAGER)
    said = []
    told = list(bench([*rows("in-context", "adaln-zero"), peer], TEN_STEPS, said.append))
    assert [row["block"] for row in told] == ["in-context", "adaln-zero", "diffusers"]
    assert len({row["matmul_tflops_per_second"] for row in told}) == 1
    for row in told:
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
    assert told[2]["train_flops_per_step"] == told[1]["train_flops_per_step"]
    assert told[2]["implementation"] == f"diffusers {diffusers.__version__}"
    assert any("in-context" in text for text in said)
    assert list(tmp_path.iterdir()) == []


def test_flops_of_a_step_are_three_forward_passes_of_the_batch():
    (row,) = rows("adaln-zero")
    (told,) = bench([row], TEN_STEPS, silent)
    assert told["train_flops_per_step"] == pytest.approx(3 * 2 * row.plan.cost.gmacs * 1e9 * 8)
    assert told["peak_memory_bytes"] is None or told["peak_memory_bytes"] > 2**20


def test_our_rows_draw_nothing_from_the_global_stream(global_stream_untouched):
    list(bench(rows("adaln"), TEN_STEPS, silent))


class Clock:
    """One that moves when something is done."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("ditbench.bench.timing.time", clock)
    return clock


def test_parts_alternate_and_each_has_its_own_times(clock):
    order = []

    def step(name, seconds):
        def make():
            order.append(name)
            clock.now += seconds

        return make

    timed = [Timed(step("a", 1.0), parts=3, steps=2), Timed(step("b", 5.0), parts=2, steps=1)]
    assert time_in_turn(timed, CPU) == [[1.0, 1.0, 1.0], [5.0, 5.0]]
    assert "".join(order) == "aabaabaa"


def test_a_machine_that_slows_down_does_not_move_the_ratio(clock):
    """Twice as slow halfway: medians one after the other would differ."""
    slowness = iter([1.0] * 20 + [2.0] * 20)

    def step():
        clock.now += next(slowness)

    first, second = time_in_turn([Timed.of(step, 20), Timed.of(step, 20)], CPU)
    assert median(first) == median(second) == 1.5


@given(st.integers(1, 10**6))
def test_steps_make_at_least_ten_parts_of_about_as_many_steps(steps):
    timed = Timed.of(lambda: None, steps)
    assert LEAST_PARTS <= timed.parts <= PARTS
    assert timed.steps >= 1
    if steps >= LEAST_PARTS:
        assert timed.parts * timed.steps == pytest.approx(steps, abs=timed.parts / 2 + 1)


def test_seconds_are_filled_with_as_many_steps(clock):
    def step():
        clock.now += 0.01

    timed = Length(seconds=4.0).timed(step, CPU)
    assert (timed.parts, timed.steps) == (20, 20)
    assert Length(seconds=1e-6).timed(step, CPU).parts == LEAST_PARTS


@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=40))
def test_the_spread_is_that_of_numpy(numbers):
    spread = Spread.of(numbers)
    expected = np.percentile(numbers, [10, 50, 90])
    assert [spread.p10, spread.median, spread.p90] == pytest.approx(expected.tolist())


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_the_matmul_is_a_product_in_the_precision(precision, dtype, monkeypatch):
    monkeypatch.setattr("ditbench.bench.matmul_peak.CPU_SIDE", 32)
    matmul = Matmul(CPU, precision)
    matmul.step()
    assert matmul.flops == 2 * 32**3
    assert str(matmul._out.dtype) == f"torch.{dtype}"
    expected = matmul._left.double() @ matmul._right.double()
    torch.testing.assert_close(matmul._out.double(), expected, rtol=2e-2, atol=2e-1)


def test_ratios_are_to_the_reference_and_none_where_it_was_not_measured():
    told = [{"block": "a", "step_ms_median": 2.0}, {"block": "b", "step_ms_median": 4.0}]
    assert [row["step_ratio"] for row in with_ratios(told, "b")] == [0.5, 1.0]
    assert {row["step_ratio_to"] for row in with_ratios(told, "b")} == {"b"}
    assert [row["step_ratio"] for row in with_ratios(told[:1], "b")] == [None]


# The images


def test_random_images_are_the_same_every_time_and_of_any_channels():
    one, two = (random_images(6, 4, 5, 7, least=3) for _ in range(2))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.labels, two.labels)
    assert one.images.shape[1:] == (5, 6, 4)
    assert one.num_classes == 7
    assert len(one) >= 3


def test_large_images_are_few_but_a_batch_of_them(monkeypatch):
    monkeypatch.setattr(synthetic, "BYTES", 1000)
    assert len(random_images(8, 8, 1, 2, least=1)) == 15
    assert len(random_images(8, 8, 1, 2, least=40)) == 40


def test_a_batch_beyond_memory_is_refused():
    with pytest.raises(DitbenchError, match="too large for memory") as raised:
        random_images(1024, 1024, 4, 2, least=10**6)
    assert raised.value.exit_code == 1


# Peers


def test_the_peer_is_diffusers_model_with_our_weights_and_one_embedder_a_block():
    plan = make_plan(block="adaln-zero", model__depth=3)
    ours = Ours().build(plan)
    candidate = EAGER.build(plan)
    peer = candidate.average
    assert type(peer.transformer) is diffusers.DiTTransformer2DModel
    D, classes = 16, 10
    embedders = (256 * D + D) + (D * D + D) + (classes + 1) * D
    assert candidate.parameters == ours.parameters + (3 - 1) * embedders


def test_the_peer_gives_what_diffusers_gives():
    model = DiffusersDiT(make_plan(block="adaln-zero")).eval()
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(4, 2, 8, 8, generator=draws)
    t, y = torch.arange(4) * 200, torch.arange(7, 11)
    with torch.no_grad():
        out = model(x, t, y)
        expected = model.transformer(x, timestep=t, class_labels=y).sample
    assert out.shape == (4, 4, 8, 8)
    assert torch.equal(out, expected)
    assert model.null_class == 10


def test_the_plain_trainer_trains_and_averages():
    plan = make_plan(block="adaln-zero", train__lr=1e-2)
    trainer = PlainTrainer(DiffusersDiT(plan).train(), plan)
    before = [weight.detach().clone() for weight in trainer.weights]
    trainer.update()
    moved = 0
    for old, new, average in zip(before, trainer.weights, trainer.averages, strict=True):
        moved += not torch.equal(old, new)
        expected = EMA_DECAY * old + (1 - EMA_DECAY) * new.detach()
        torch.testing.assert_close(average, expected, rtol=1e-5, atol=1e-6)
    assert moved == len(before)
    assert not trainer.average.training


def test_what_the_peer_cannot_be_is_refused():
    EAGER.check(make_plan())
    with pytest.raises(DitbenchError, match="takes square images, not 8x4x2"):
        EAGER.check(make_plan(width=4))
    with pytest.raises(DitbenchError, match=r"no model.mlp_ratio = 2"):
        EAGER.check(make_plan(model__mlp_ratio=2.0))
    for name, value in {"qk_norm": True, "norm": "rms", "registers": 1}.items():
        with pytest.raises(DitbenchError, match=f"has no model.{name}"):
            EAGER.check(make_plan(**{f"model__{name}": value}))


def test_peers_are_known_by_name(monkeypatch):
    assert list(PEERS) == ["diffusers", "diffusers-compiled"]
    assert load_peer("diffusers").compiled is False
    assert load_peer("diffusers-compiled").compiled is True
    with pytest.raises(DitbenchError, match="unknown peer 'difusers'"):
        check_peer("difusers")
    monkeypatch.setattr("ditbench.bench.adapters.find_spec", lambda _name: None)
    with pytest.raises(DitbenchError, match="needs the package diffusers") as raised:
        check_peer("diffusers")
    assert raised.value.hint == "pip install diffusers"
    assert importlib.util.find_spec("diffusers")


# What a machine lacks


class Failing:
    implementation = "none"

    def __init__(self, error):
        self.error = error

    def check(self, plan):
        pass

    def build(self, plan):
        def update():
            raise self.error

        return Candidate(update, torch.nn.Identity(), 0, "plain")


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
def test_what_a_machine_lacks_is_one_line(error, words):
    row = Row("failing", make_plan(), Failing(error))
    with pytest.raises(DitbenchError, match=words) as raised:
        list(bench([row], TEN_STEPS, silent))
    assert raised.value.exit_code == 1
    assert "\n" not in raised.value.message


def test_a_defect_of_ours_stays_one():
    row = Row("failing", make_plan(), Failing(RuntimeError("a defect")))
    with pytest.raises(RuntimeError, match="a defect"):
        list(bench([row], TEN_STEPS, silent))


# On a GPU

gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


class TestOnTheGpu:
    pytestmark = gpu

    def test_rows_are_measured_one_by_one_each_with_its_own_memory(self):
        values = {"device": torch.device("cuda"), "train__precision": "bf16"}
        given = rows("adaln", "adaln-zero", **values)
        given.append(Row("diffusers", make_plan(block="adaln-zero", **values), EAGER))
        told = list(bench(given, Length(seconds=0.2), silent))
        assert [row["block"] for row in told] == ["adaln", "adaln-zero", "diffusers"]
        for row in told:
            assert 0 < row["step_ms_p10"] <= row["step_ms_median"] <= row["step_ms_p90"]
            # Neither the matrices of the matrix product nor the models of other rows.
            assert 0 < row["peak_memory_bytes"] < 2**28
            assert 10 < row["matmul_tflops_per_second"] < 10_000
            assert row["threads"] is None

    @pytest.mark.parametrize("adapter", [Ours(), EAGER])
    def test_no_part_waits_for_the_gpu(self, adapter):
        """The host runs ahead through all parts: it waits once, when they are over."""
        plan = make_plan(device=torch.device("cuda"), train__precision="bf16")
        candidate = adapter.build(plan)
        for _ in range(8):
            candidate.update()
        timed = Timed(candidate.update, parts=3, steps=2)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            parts = [timing._run_part(timed, plan.device) for _ in range(timed.parts)]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
        assert all(began.elapsed_time(ended) > 0 for began, ended in parts)


def test_on_a_gpu_rows_come_one_by_one(monkeypatch):
    """Without a GPU: the matrix product comes first, and each row is built after the previous."""
    order = []
    monkeypatch.setattr(module, "_matmul_alone", lambda _plan: order.append("matmul") or 1.0)
    monkeypatch.setattr(module, "_free_compiled", lambda: order.append("forget"))
    monkeypatch.setattr(
        module, "_measure_alone", lambda row, _length, _matmul: order.append(row.name) or {}
    )
    list(module._one_by_one(rows("adaln", "in-context"), TEN_STEPS, silent))
    assert order == ["matmul", "forget", "adaln", "forget", "in-context"]
