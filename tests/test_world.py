"""Processes that train together: parts, exchanges, and equality with one process."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worlds import in_world

from ditbench.world import ALONE, World


@given(st.integers(0, 1000), st.integers(1, 16))
def test_parts_cover_everything_once_and_in_order(count, size):
    parts = [World(rank, size).part(count) for rank in range(size)]
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("count", "divided"), [(0, False), (2, False), (3, True), (4, True)])
def test_fewer_items_than_processes_are_not_divided(count, divided):
    world = World(1, 3)
    assert (world.sharing(count) is world) == divided
    assert ALONE.sharing(count).part(count) == slice(0, count)


def test_one_process_exchanges_nothing():
    x = torch.arange(3)
    assert ALONE.gather(x, 3) is x
    assert ALONE.most(2.5) == 2.5
    assert ALONE.all(condition=True)
    assert not ALONE.all(condition=False)
    assert ALONE.first


def exchange(world):
    x = torch.arange(14).view(7, 2)
    return {
        "gathered": world.gather(x[world.part(7)], 7).tolist(),
        "most": world.most(float(world.rank)),
        "all": (world.all(condition=True), world.all(condition=world.rank != 1)),
    }


TASK = {
    "model.hidden_size": 32,
    "model.depth": 2,
    "model.num_heads": 2,
    "train.batch_size": 17,  # no multiple of the number of processes
    "data.horizontal_flip": True,
}


def losses(world, values, steps=5):
    """The losses of the first steps, the norms of their gradients, and the sum of each weight."""
    from ditbench.config import load
    from ditbench.runs.planning.plan import build_model, plan_all
    from ditbench.training.trainer import Trainer

    config = load("digits", None, (), {**TASK, **values})
    (plan,) = plan_all([config], Path("unused"), torch.device("cpu"))
    model = build_model(plan).to(torch.get_default_dtype())
    known = (plan.config, model, plan.objective, plan.dataset, plan.device, plan.budget)
    trainer = Trainer(*known, world=world)
    found = []
    for _ in range(steps):
        norm = trainer.update()
        found += [trainer.loss_sum.item(), norm.item()]
        trainer.loss_sum.zero_()
    return found, [weight.detach().sum().item() for weight in trainer.parameters]


def compute_in_double():
    """Let every number of a step be float64, those that are drawn as well."""
    import ditbench.training.batches as batches

    single = torch.Tensor.float
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = lambda x: x.double() if x.is_floating_point() else single(x)
    batches.to_model = lambda images: images.double() / 127.5 - 1


def work(world):
    """Everything that these tests ask of one process; starting processes takes seconds."""
    found = {"exchanged": exchange(world), "single": losses(world, {})}
    compute_in_double()
    for objective in ("flow", "ddpm"):
        values = {"objective.name": objective, "train.grad_clip": 0.5}
        found[objective] = losses(world, values)
        found[f"{objective}, in parts"] = losses(world, values | {"train.micro_batch": 4})
    return found


@pytest.fixture(scope="module")
def worlds():
    """What each process of one, two and three says."""
    return {size: in_world(size, work) for size in (1, 2, 3)}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_exchange(worlds, size):
    for found in worlds[size]:
        assert found["exchanged"] == {
            "gathered": torch.arange(14).view(7, 2).tolist(),
            "most": size - 1,
            "all": (True, size == 1),
        }


@pytest.mark.parametrize("parts", ["", ", in parts"])
@pytest.mark.parametrize("objective", ["flow", "ddpm"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_losses_do_not_depend_on_processes_or_parts(worlds, size, objective, parts):
    expected = worlds[1][0][objective]
    for found in worlds[size]:
        torch.testing.assert_close(found[objective + parts], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3])
def test_in_single_precision_they_agree_to_rounding(worlds, size):
    (alone,), together = worlds[1], worlds[size]
    assert all(found["single"] == together[0]["single"] for found in together)
    torch.testing.assert_close(together[0]["single"][0], alone["single"][0], rtol=1e-5, atol=1e-6)
