"""Files in place of a shipped classifier: one line, and nothing of them is executed."""

# ruff: noqa: E501 (tables of cases)
import os
import pickle

import pytest
import torch
from contract import assert_error, in_time
from payload import Payload, tensors_of
from safetensors.torch import save

from ditbench.errors import DitbenchError
from ditbench.metrics.features.classifiers import METADATA, Cifar10Classifier, DigitsClassifier

# Files in place of a shipped classifier's; each is made of a good one's tensors and metadata.
CLASSIFIERS = {
    "no file": lambda *_: None,
    "no bytes": lambda path, *_: path.write_bytes(b""),
    "a pickle": lambda path, *_: path.write_bytes(pickle.dumps(Payload(path.parent / "pwned"))),
    "cut short": lambda path, *good: path.write_bytes(save(*good)[:-9]),
    "a pipe": lambda path, *_: os.mkfifo(path),
    "a folder": lambda path, *_: path.mkdir(),
    "no metadata": lambda path, tensors, _: path.write_bytes(save(tensors, {})),
    "metadata that is not JSON": lambda path, tensors, _: path.write_bytes(save(tensors, {METADATA: "x"})),
    "details that are a list": lambda path, tensors, _: path.write_bytes(save(tensors, {METADATA: "[1]"})),
    "a tensor missing": lambda path, tensors, metadata: path.write_bytes(
        save({name: tensors[name] for name in list(tensors)[1:]}, metadata)
    ),
    "a tensor too many": lambda path, tensors, metadata: path.write_bytes(
        save({**tensors, "more": torch.zeros(1, dtype=tensors["logits.bias"].dtype)}, metadata)
    ),
    "NaN": lambda *good: changed_bias(*good, lambda bias: bias * float("nan")),
    "infinity": lambda *good: changed_bias(*good, lambda bias: bias + float("inf")),
    "another type": lambda *good: changed_bias(*good, lambda bias: bias.double()),
    "whole numbers": lambda *good: changed_bias(*good, lambda bias: bias.int()),
    "another shape": lambda *good: changed_bias(*good, lambda bias: bias[:3].clone()),
    "of the other type": lambda path, tensors, metadata: path.write_bytes(
        save({name: other_type(tensor) for name, tensor in tensors.items()}, metadata)
    ),
}  # fmt: skip


def changed_bias(path, tensors, metadata, change):
    path.write_bytes(save({**tensors, "logits.bias": change(tensors["logits.bias"])}, metadata))


def other_type(tensor):
    return tensor.half() if tensor.dtype == torch.float32 else tensor.float()


@pytest.mark.parametrize("kind", [DigitsClassifier, Cifar10Classifier])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_file_that_holds_no_classifier_is_one_line(tmp_path, kind, name):
    path = tmp_path / "weights.safetensors"
    good = tensors_of(kind.weights_file())
    path.write_bytes(save(*good))
    kind(path)
    path.unlink()
    CLASSIFIERS[name](path, *good)
    with pytest.raises(DitbenchError) as caught, in_time():
        kind(path)
    assert_error(caught.value, f"cannot load the {kind.name} features")
    assert not (tmp_path / "pwned").exists()
