"""Which backend a run gets."""

import pytest
import torch

from ditbench import kernels
from ditbench.errors import DitbenchError
from ditbench.kernels import fp8
from ditbench.models.blocks.base import Block
from ditbench.models.registry import block_class
from ditbench.training.device import backend
from ditbench.training.device.backend import Backend, choose

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FUSED = block_class("adaln-zero")


class Own(Block):
    """A block of a user."""


@pytest.fixture
def broken(monkeypatch):
    """The names of backends that do not work."""
    names = set()
    monkeypatch.setattr(
        backend, "_unavailable_reason", lambda name, *_: "no g++" if name in names else None
    )
    monkeypatch.setattr(kernels, "fp8_unavailable_reason", lambda device: None)
    return names


@pytest.mark.parametrize(
    ("block", "precision", "device", "name"),
    [
        (FUSED, "fp32", CPU, "plain"),
        (FUSED, "bf16", CPU, "plain"),
        (FUSED, "fp32", CUDA, "plain"),
        (FUSED, "bf16", CUDA, "kernels"),
        (Own, "bf16", CUDA, "compile"),
        (FUSED, "fp8", CUDA, "kernels"),
        (Own, "fp8", CUDA, "kernels"),
        (FUSED, "fp8", CPU, "plain"),
    ],
)
def test_auto_is_the_fastest_that_suits_block_precision_and_device(
    broken, block, precision, device, name
):
    assert choose("auto", block, precision, device) == Backend(name)


def test_auto_falls_back_and_says_why(broken):
    broken.add("kernels")
    assert choose("auto", FUSED, "bf16", CUDA) == Backend("compile", "kernels: no g++")
    broken.add("compile")
    assert choose("auto", FUSED, "bf16", CUDA) == Backend("plain", "kernels: no g++")


def test_auto_keeps_the_backend_of_a_resumed_run(broken):
    assert choose("auto", FUSED, "bf16", CUDA, begun="compile").name == "compile"
    assert choose("auto", FUSED, "fp32", CPU, begun="compile").name == "compile"
    broken.add("compile")
    assert choose("auto", FUSED, "fp32", CPU, begun="compile").name == "plain"


@pytest.mark.parametrize("name", ["compile", "kernels"])
def test_an_explicit_backend_works_or_is_an_error(broken, name):
    assert choose(name, FUSED, "bf16", CUDA, begun="plain") == Backend(name)
    broken.add(name)
    message = f"the backend {name} does not work here: no g"
    with pytest.raises(DitbenchError, match=message) as raised:
        choose(name, FUSED, "bf16", CUDA)
    assert raised.value.exit_code == 1


def test_compile_has_no_fp8():
    with pytest.raises(DitbenchError, match="compile does not work here: it does not compute in"):
        choose("compile", FUSED, "fp8", CPU)


def test_a_device_without_fp8_is_an_error_that_says_what_to_do(monkeypatch):
    """As on a GPU before Ada, whose products torch refuses."""

    def refuse(*_, **__):
        raise RuntimeError("only supported on compute capability 8.9\nand more lines")

    monkeypatch.setattr(fp8, "product", refuse)
    kernels.fp8_unavailable_reason.cache_clear()
    with pytest.raises(DitbenchError, match="in FP8: only supported on") as raised:
        choose("auto", FUSED, "fp8", CPU)
    kernels.fp8_unavailable_reason.cache_clear()
    assert raised.value.exit_code == 1
    assert "--precision bf16" in raised.value.hint


def test_an_unknown_backend_is_an_error():
    with pytest.raises(DitbenchError, match="unknown backend 'triton'"):
        choose("triton", FUSED, "fp32", CPU)


def test_kernels_need_a_gpu_and_bf16():
    for precision, words in (("fp32", "fp32"), ("bf16", "")):
        message = f"the backend kernels does not work here: .*{words}"
        with pytest.raises(DitbenchError, match=message):
            choose("kernels", FUSED, precision, CPU)
