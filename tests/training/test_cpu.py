"""Batches in halves on a CPU: the same numbers as undivided, up to rounding, and repeatable."""

import platform
import subprocess
import sys

import pytest
import torch

from ditbench.runs.planning.plan import build_trainer
from ditbench.runs.scoring.sampling import sample_images
from ditbench.training.cpu import divides, each_half, half_of_the_cores


@pytest.fixture(autouse=True)
def two_cores():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def gradients(plan, *, halves):
    trainer = build_trainer(plan)
    assert trainer._halves
    trainer._halves = halves
    trainer.update()
    return [weight.grad for weight in trainer.parameters] + [trainer.loss_sum]


@pytest.mark.parametrize(
    ("block", "count"), [("adaln-zero", 7), ("cross-attention", 7), ("joint", 6), ("adaln-zero", 1)]
)
def test_gradients_are_those_of_the_whole_batch(make_plan, block, count):
    plan = make_plan(block=block, train__batch_size=count)
    given, again = gradients(plan, halves=True), gradients(plan, halves=True)
    for ours, repeated, whole in zip(given, again, gradients(plan, halves=False), strict=True):
        assert torch.equal(ours, repeated)
        torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-6)


def test_samples_are_those_of_the_whole_batch(make_plan, monkeypatch):
    plan = make_plan(eval__batch_size=5, objective__name="ddpm", eval__sampling_steps=4)
    model, labels = build_trainer(plan).ema.model, torch.arange(8) % 10
    batches = []
    model.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    halves = sample_images(model, plan, labels)
    assert sorted(batches) == sorted(4 * [3, 2, 2, 1])
    monkeypatch.setattr("ditbench.runs.scoring.sampling.divides", lambda *_: False)
    assert (halves.int() - sample_images(model, plan, labels).int()).abs().max() <= 1


def test_both_halves_have_half_of_the_cores_and_no_gradients_where_there_are_none():
    def state(half):
        return half.tolist(), torch.get_num_threads(), torch.is_grad_enabled()

    with half_of_the_cores(), torch.no_grad():
        assert each_half(state, [torch.arange(3)]) == [([0, 1], 1, False), ([2], 1, False)]


def test_an_error_in_either_half_is_raised():
    def refuse(half, wrong):
        if half[0] == wrong[0]:
            raise ValueError("wrong")

    for wrong in (0, 2):
        with half_of_the_cores(), pytest.raises(ValueError, match="wrong"):
            each_half(refuse, [torch.arange(4), torch.full((4,), wrong)])


def test_an_odd_core_and_compiled_blocks_are_not_divided(make_plan):
    model = build_trainer(make_plan()).model
    assert divides(model, torch.device("cpu"))
    assert not divides(model, torch.device("cuda"))
    torch.set_num_threads(1)
    assert not divides(model, torch.device("cpu"))
    torch.set_num_threads(2)
    model.blocks[0].compile()
    assert not divides(model, torch.device("cpu"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries are left alone")
def test_freed_memory_is_kept():
    """In a process of its own: memory that was used before comes without page faults."""
    program = (
        "import resource, torch\n"
        "from ditbench.runs.machine.environment import select_device\n"
        "select_device('cpu')\n"
        "def faults():\n"
        "    [torch.ones(2**20) for _ in range(40)]\n"  # 40,960 pages
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "before = faults()\n"
        "print(faults() - before)\n"
    )
    printed = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE)
    assert int(printed.stdout) < 10_000
