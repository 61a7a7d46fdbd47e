"""The speed of several processes against one: arithmetic, order, failures, and what is timed."""

import pytest
from plans import TINY, make_plan
from worlds import in_world

from ditbench.bench import scaling
from ditbench.bench.scaling import Apart, Conditions, Job, with_efficiency
from ditbench.bench.timing import Length
from ditbench.config import load
from ditbench.errors import EXIT_FAILED, EXIT_USAGE, DitbenchError
from ditbench.runs.planning.plan import build_model
from ditbench.training.trainer import Trainer

TEN_STEPS = Length(seconds=0.01, steps=10)
CONDITIONS = Conditions("cpu", 1, TEN_STEPS)


def job(how="weak", channels=2, **values):
    config = load("digits", overrides=TINY).with_values(**values)
    return Job(config, (8, 8, channels, 10), how)


def silent(_text):
    pass


def test_weak_scaling_keeps_the_batch_per_gpu_and_strong_the_global_one():
    assert job("weak").on(4).train.batch_size == 4 * TINY["train.batch_size"]
    assert job("strong").on(4).train.batch_size == TINY["train.batch_size"]


def test_efficiency_is_speed_per_gpu_against_the_fewest():
    def row(model, how, gpus, speed, per_gpu=8):
        same = {"model": model, "input": "8x8x2", "block": "adaln", "backend": "plain"}
        batch = per_gpu * gpus if how == "weak" else 8
        return same | {
            "scaling": how,
            "gpus": gpus,
            "batch_size": batch,
            "images_per_second": speed,
        }

    rows = [row("a", "weak", 4, 360), row("a", "weak", 1, 100), row("a", "strong", 1, 100)]
    rows += [row("b", "weak", 2, 10), row("b", "weak", 4, 15), row("a", "strong", 4, 200)]
    rows += [row("b", "weak", 2, 5, per_gpu=4)]  # a series of its own
    found = with_efficiency(rows)
    assert [(row["model"], row["scaling"], row["gpus"], row["efficiency"]) for row in found] == [
        ("a", "weak", 1, 1.0),
        ("a", "weak", 4, 0.9),
        ("a", "strong", 1, 1.0),
        ("a", "strong", 4, 0.5),
        ("b", "weak", 2, 1.0),
        ("b", "weak", 4, 0.75),
        ("b", "weak", 2, 1.0),
    ]
    assert [row["efficiency_to"] for row in found] == [1, 1, 1, 1, 2, 2, 2]


def weights(world):
    """A weight of a model after one step."""
    plan = make_plan()
    known = (plan.objective, plan.dataset, plan.device, plan.budget)
    trainer = Trainer(plan.config, build_model(plan), *known, world=world)
    trainer.update()
    return trainer.model.final_layer.linear.weight.detach().tolist()


def step(world):
    plan = make_plan()
    facts = scaling._measure(plan, build_model(plan), world, TEN_STEPS)
    return {"facts": facts, "apart": weights(Apart(world.rank, world.size)), "sum": weights(world)}


def test_a_step_is_timed_with_and_without_the_sum_of_gradients():
    one, two = in_world(2, step)
    assert one["sum"] == two["sum"]
    assert one["apart"] != two["apart"]
    facts = one["facts"]
    # Each part is that of the slower process.
    assert {**facts, "peak_memory_bytes": None} == {**two["facts"], "peak_memory_bytes": None}
    assert (facts["gpus"], facts["batch_size"], facts["parts"]) == (2, 8, 10)
    assert 0 < facts["step_ms_p10"] <= facts["step_ms_median"] <= facts["step_ms_p90"]
    assert facts["images_per_second"] == pytest.approx(8e3 / facts["step_ms_median"])
    share = 1 - facts["step_ms_without_all_reduce"] / facts["step_ms_median"]
    assert facts["all_reduce_share"] == pytest.approx(share)


def test_on_one_gpu_the_scalings_are_one_measurement():
    sent = []
    scaling.work(sent.append, [job("weak"), job("strong")], CONDITIONS)
    text, weak, strong = sent
    assert text == "measuring adaln-zero 16x2x2/2 on 8x8x2, batch 8, plain, 1 x cpu"
    assert weak == {**strong, "scaling": "weak"}
    assert (weak["gpus"], weak["all_reduce_share"]) == (1, 0)


def test_jobs_have_inputs_and_batch_sizes_of_their_own():
    sent = []
    jobs = [job(), job(channels=3), job(train__batch_size=4)]
    scaling.work(sent.append, jobs, CONDITIONS)
    found = [(each["input"], each["batch_size"]) for each in sent if isinstance(each, dict)]
    assert found == [("8x8x2", 8), ("8x8x3", 8), ("8x8x2", 4)]


@pytest.fixture
def processes(monkeypatch):
    """Processes that fail at the batches of `failing`; the jobs of each start."""
    starts, failing = [], {}

    def in_processes(number, _work, jobs, _conditions):
        starts.append((number, len(jobs)))
        for each in jobs:
            size = each.on(number).train.batch_size
            yield f"measuring {size}"
            if size in failing:
                raise failing[size]
            yield {"batch_size": size}

    monkeypatch.setattr(scaling, "in_processes", in_processes)
    return starts, failing


def test_what_fails_is_yielded_and_the_rest_is_measured(processes):
    starts, failing = processes
    failing[16] = DitbenchError("out of memory", "less", EXIT_FAILED)
    found = list(scaling.bench([job("weak"), job("strong")], (1, 2), CONDITIONS, silent))
    assert found == [{"batch_size": 8}, {"batch_size": 8}, failing[16], {"batch_size": 8}]
    assert starts == [(1, 2), (2, 2), (2, 1)]


def test_a_mistake_ends_everything(processes):
    _, failing = processes
    failing[8] = DitbenchError("unknown sampler", "known: ...", EXIT_USAGE)
    with pytest.raises(DitbenchError, match="unknown sampler"):
        list(scaling.bench([job("strong"), job("weak")], (1, 2), CONDITIONS, silent))
