"""`--gpus N`: what is refused before any process starts."""

import pytest
import torch

from ditbench.runs.machine import environment

OPTIONS = ("run", "--block", "adaln-zero", "--model", "16x1x2/2", "--batch-size", "16")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpus", "2"), "--gpus 2: this machine has 0 GPUs"),
        (("--gpus", "2", "--device", "cuda:1"), "--gpus 2 and --device cuda:1 are given together"),
        (
            ("--gpus", "17", "--device", "cpu"),
            "a batch of 16 images cannot be divided over 17 processes",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused(mistake, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(environment, "select_device", lambda _: torch.device("cpu"))
    assert said in mistake(*OPTIONS, *arguments)[0]
    assert not list(tmp_path.iterdir())
