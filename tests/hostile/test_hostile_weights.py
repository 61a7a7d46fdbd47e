"""Checkpoints and weights that are damaged, forged or pickles: nothing of them is executed."""

import json
import os
import pickle
import struct

import pytest
import torch
from contract import assert_error
from hypothesis import given, settings
from hypothesis import strategies as st
from payload import Payload, tensors_of
from safetensors.torch import save

from ditbench.data.io.tensors import digest_of
from ditbench.errors import DitbenchError
from ditbench.training.checkpoint import read_checkpoint

LATEST = "checkpoints/latest.safetensors"


def forged(tensors, counters):
    """A checkpoint whose checksum is right, whatever it holds."""
    return save(tensors, {"counters": counters, "sha256": digest_of(tensors, counters)})


def with_header(data, header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (length,) = struct.unpack_from("<Q", data)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def header_of(data):
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length])


def edited_header(change):
    def build(data, _tensors, _counters):
        header = header_of(data)
        change(header)
        return with_header(data, header)

    return build


def first_tensor(**values):
    """Other facts of the first tensor in the header."""

    def change(header):
        next(each for name, each in header.items() if name != "__metadata__").update(values)

    return edited_header(change)


def metadata(**values):
    return edited_header(lambda header: header["__metadata__"].update(values))


def changed(**values):
    """Forge one averaged weight; None removes it."""

    def build(_data, tensors, counters):
        name = next(name for name in tensors if name.startswith("ema.") and tensors[name].ndim == 2)
        tensors = dict(tensors)
        value = values["value"](tensors.pop(name))
        return forged(tensors if value is None else {**tensors, name: value}, counters)

    return build


def counted(**values):
    def build(_data, tensors, counters):
        return forged(tensors, json.dumps({**json.loads(counters), **values}))

    return build


DAMAGE = {
    "no bytes": lambda data, *_: b"",
    "seven bytes": lambda data, *_: data[:7],
    "its length alone": lambda data, *_: data[:8],
    "half its header": lambda data, *_: data[:200],
    "its header alone": lambda data, *_: data[: 8 + struct.unpack_from("<Q", data)[0]],
    "one byte short": lambda data, *_: data[:-1],
    "one byte more": lambda data, *_: data + b"\0",
    "half of it": lambda data, *_: data[: len(data) // 2],
    "twice": lambda data, *_: data + data,
    "text": lambda *_: b"no checkpoint",
    "a zip": lambda *_: b"PK\3\4" + bytes(100),
    "a header of 2**63 bytes": lambda data, *_: struct.pack("<Q", 2**63) + data[8:],
    "a header of 100 MB": lambda data, *_: struct.pack("<Q", 10**8) + data[8:],
    "a header of no bytes": lambda data, *_: struct.pack("<Q", 0) + data[8:],
    "a header of text": lambda data, *_: with_header(data, b"x" * 64),
    "a header that is a list": lambda data, *_: with_header(data, [1]),
    "a header nested without end": lambda data, *_: with_header(data, b'{"a":' * 9_999),
    "an empty header": lambda data, *_: with_header(data, {}),
    "no metadata": edited_header(lambda header: header.pop("__metadata__")),
    "no checksum": edited_header(lambda header: header["__metadata__"].pop("sha256")),
    "no counters": edited_header(lambda header: header["__metadata__"].pop("counters")),
    "another checksum": metadata(sha256="0" * 64),
    "other counters": metadata(counters="{}"),
    "counters that are not JSON": metadata(counters="{"),
    "offsets beyond the file": first_tensor(data_offsets=[0, 2**40]),
    "offsets that run backwards": first_tensor(data_offsets=[64, 0]),
    "a shape of terabytes": first_tensor(shape=[2**40]),
    "a shape that overflows": first_tensor(shape=[2**32, 2**32]),
    "a negative shape": first_tensor(shape=[-1]),
    "an unknown type": first_tensor(dtype="F4096"),
    "another type": first_tensor(dtype="I32"),
    "no averaged weights": lambda _data, tensors, counters: forged(
        {name: value for name, value in tensors.items() if not name.startswith("ema.")}, counters
    ),
    "no tensors": lambda _data, _tensors, counters: forged({}, counters),
    "a weight missing": changed(value=lambda weight: None),
    "a weight too many": lambda _data, tensors, counters: forged(
        {**tensors, "ema.more": torch.zeros(1)}, counters
    ),
    "a weight of another shape": changed(value=lambda weight: weight[:1].clone()),
    "a weight turned": changed(value=lambda weight: weight.flatten().clone()),
    "a weight of whole numbers": changed(value=lambda weight: weight.long()),
    "no step": lambda _data, tensors, counters: forged(
        tensors, json.dumps({k: v for k, v in json.loads(counters).items() if k != "step"})
    ),
    "schema 0": counted(schema=0),
    "schema 2": counted(schema=2),
    "schema '1'": counted(schema="1"),
    "schema null": counted(schema=None),
    "counters that are a list": lambda _data, tensors, _counters: forged(tensors, "[1]"),
    "counters that are a text": lambda _data, tensors, _counters: forged(tensors, '"abc"'),
    "counters that are nothing": lambda _data, tensors, _counters: forged(tensors, "null"),
}


@pytest.fixture(scope="module")
def parts(trained):
    tensors, metadata = tensors_of(trained / LATEST)
    return (trained / LATEST).read_bytes(), tensors, metadata["counters"]


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_checkpoint_is_one_line(refused, one_run, parts, name):
    (one_run / LATEST).write_bytes(DAMAGE[name](*parts))
    refused("sample", one_run, "--per-class", 1, parts=("is not a checkpoint of this run: ",))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_draw_no_picture(refused, one_run, parts, value):
    (one_run / LATEST).write_bytes(changed(value=lambda weight: weight * value)(*parts))
    refused("sample", one_run, "--per-class", 1, code=1, parts=("samples contain NaN",))


@pytest.fixture
def refuse_weights(refused):
    """A run whose Inception weights are in a file is refused."""

    def call(path, part):
        values = ("metrics.features=inception", f"metrics.inception_weights={path}")
        options = [part for value in values for part in ("--set", value)]
        command = ("run", "--block", "adaln", "--device", "cpu", "--quiet", *options)
        refused(*command, parts=(part,))

    return call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_in_place_of_a_checkpoint_is_not_executed(refused, one_run, tmp_path, protocol):
    data = pickle.dumps(Payload(tmp_path / "pwned"), protocol)
    (one_run / LATEST).write_bytes(data)
    refused("sample", one_run, parts=("is not a checkpoint",))
    pickle.loads(data)  # it would have
    assert (tmp_path / "pwned").is_dir()


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_in_place_of_inception_weights_is_not_executed(
    refuse_weights, tmp_path, suffix, zipped
):
    path = tmp_path / f"weights.{suffix}"
    state = {"Conv2d_1a_3x3.conv.weight": Payload(tmp_path / "pwned")}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    refuse_weights(path, "does not hold torch-fidelity's Inception-v3 weights")
    torch.load(path, weights_only=False)  # it would have
    assert (tmp_path / "pwned").is_dir()


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.integers(0, 7), st.sampled_from(["header", "data"]))
def test_a_flipped_bit_of_a_checkpoint_is_found(trained, tmp_path_factory, place, bit, region):
    data = bytearray((trained / LATEST).read_bytes())
    length = 8 + struct.unpack_from("<Q", data)[0]
    start, end = (0, length) if region == "header" else (length, len(data))
    data[start + int(place * (end - start - 1))] ^= 1 << bit
    path = tmp_path_factory.mktemp("flip") / "latest.safetensors"
    path.write_bytes(bytes(data))
    whole = read_checkpoint(trained / LATEST)
    try:
        tensors, counters = read_checkpoint(path)
    except DitbenchError as error:
        assert_error(error, "is not a checkpoint")
    else:  # a blank between two keys, say
        assert counters == whole[1]
        assert tensors.keys() == whole[0].keys()
        assert all(torch.equal(value, whole[0][name]) for name, value in tensors.items())


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1, exclude_max=True))
def test_a_checkpoint_cut_anywhere_is_found(trained, tmp_path_factory, share):
    data = (trained / LATEST).read_bytes()
    path = tmp_path_factory.mktemp("cut") / "latest.safetensors"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DitbenchError) as caught:
        read_checkpoint(path)
    assert_error(caught.value, "is not a checkpoint")


# Files in place of torch-fidelity's weights.
WEIGHTS_FILES = {
    "no bytes": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello"),
    "HTML of a proxy": lambda path: path.write_text("<html>404</html>"),
    "a zip of text": lambda path: path.write_bytes(b"PK\3\4" + bytes(400)),
    "a list": lambda path: torch.save([torch.zeros(1)], path),
    "a number": lambda path: torch.save(1, path),
    "no tensors": lambda path: torch.save({}, path),
    "a text among tensors": lambda path: torch.save({"a": torch.zeros(1), "b": "x"}, path),
    "a number for a name": lambda path: torch.save({1: torch.zeros(1)}, path),
    "other names": lambda path: torch.save({"weight": torch.zeros(1)}, path),
    "NaN": lambda path: torch.save({"a": torch.tensor([1.0, float("nan")])}, path),
    "whole numbers": lambda path: torch.save({"a": torch.zeros(2, dtype=torch.int32)}, path),
    "complex numbers": lambda path: torch.save({"a": torch.zeros(2, dtype=torch.complex64)}, path),
    "sparse tensors": lambda path: torch.save({"a": torch.eye(3).to_sparse()}, path),
    "meta tensors": lambda path: torch.save({"a": torch.zeros(3, device="meta")}, path),
    "a module": lambda path: torch.save(torch.nn.Linear(1, 1), path),
    "safetensors": lambda path: path.write_bytes(save({"a": torch.zeros(1)})),
    "cut to half": lambda path: _cut(path),
    "a pipe": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
}


def _cut(path):
    torch.save({"a": torch.zeros(1_000)}, path)
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("name", WEIGHTS_FILES)
def test_a_file_that_holds_no_inception_weights_is_one_line(refuse_weights, tmp_path, name):
    path = tmp_path / "weights.pth"
    WEIGHTS_FILES[name](path)
    refuse_weights(path, "Inception")
