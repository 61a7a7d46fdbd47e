"""Numbers and names of absurd size, on the command line and in files."""

from __future__ import annotations

import json

import pytest
from test_hostile_weights import LATEST, forged, tensors_of

RUN = ("run", "--block", "adaln", "--device", "cpu", "--quiet")
SMALL = ("--model", "16x1x2/2", "--steps", "6", "--set", "eval.points=2")
DIGITS = "1" * 5_000
ABSURD = {
    "a whole number of 5,000 digits": ("--set", f"train.batch_size={DIGITS}"),
    "an MLP of no width": ("--set", "model.mlp_ratio=1e-300"),
    "more samples than memory holds": ("--set", "eval.samples=1" + "0" * 15),
    "samples of 400 digits": ("--set", "eval.samples=1" + "0" * 400),
    "guidance beyond a float32": ("--set", "eval.cfg_scale=1e308"),
    "an evaluation batch beyond 64 bits": ("--set", "eval.batch_size=1" + "0" * 30),
    "a preset with a newline": ("--set", 'preset="a\\n"'),
    "a hidden size of 5,000 digits": ("--model", f"{DIGITS}x4x4/2"),
    "a patch of 5,000 digits": ("--model", f"S/{DIGITS}"),
    "a name with a NUL": ("--model", "S/2\0x"),
    "a preset with a NUL": ("--preset", "digits\0"),
    "a path of 5,000 letters": ("--config", "x" * 5_000),
    "seeds of 4,000 digits": ("--seeds", "9" * 4_000 + ","),
    "a device without memory": ("--device", "meta"),
}


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_option_is_one_line(refused, name):
    refused(*RUN, *SMALL, *ABSURD[name])


def test_a_deeply_nested_configuration_is_one_line(refused, tmp_path):
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    refused(*RUN, "--config", tmp_path / "deep.toml")


def test_a_checkpoint_without_a_step_is_one_line(refused, one_run):
    tensors, metadata = tensors_of(one_run / LATEST)
    counters = json.loads(metadata["counters"])
    del counters["step"]
    (one_run / LATEST).write_bytes(forged(tensors, json.dumps(counters)))
    refused("sample", one_run, "--per-class", 1)


def test_a_weight_of_whole_numbers_is_one_line(refused, one_run):
    tensors, metadata = tensors_of(one_run / LATEST)
    name = next(name for name in tensors if name.startswith("ema."))
    tensors[name] = tensors[name].long()
    (one_run / LATEST).write_bytes(forged(tensors, metadata["counters"]))
    refused("sample", one_run, "--per-class", 1)


@pytest.mark.parametrize("schema", [True, 1.0])
def test_a_schema_of_another_type_is_not_read(refused, one_run, schema):
    table = json.loads((one_run / "result.json").read_text())
    (one_run / "result.json").write_text(json.dumps({**table, "schema": schema}))
    from ditbench.errors import DitbenchError
    from ditbench.rundir import RunDirectory

    with pytest.raises(DitbenchError):
        RunDirectory(one_run).read_result()
