"""`ditbench sample` with invalid options and runs: one line, no image, nothing changed."""

import json
import os

import pytest

OPTIONS = [
    ("--per-class", "1000000000000"), ("--per-class", "10000000"), ("--per-class", "-1"),
    ("--per-class", "1.5"), ("--cfg-scale", "nan"), ("--cfg-scale", "inf"), ("--cfg-scale", "-1"),
    ("--sampling-steps", "0"), ("--sampling-steps", "x"), ("--seed", "-1"), ("--seed", str(2**63)),
    ("--classes", ""), ("--classes", "10"), ("--classes", "-1"), ("--classes", "0,x"),
    ("--classes", "9" * 30), ("--device", "tpu"), ("-o", "grid.jpg"), ("-o", ""),
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_an_invalid_option_is_one_line(refused, one_run, options):
    refused("sample", one_run, *options)


CONFIGS = {
    "no bytes": ("", "is not a checkpoint"),
    "no TOML": ("[", "not valid TOML"),
    "an unknown key": ("[train]\nlearning_rate = 1.0", "unknown key"),
    "a wrong type": ("[train]\nlr = 'x'", "train.lr"),
    "an unknown block": ("block = 'nope'", "unknown block"),
    "an unknown objective": ("[objective]\nname = 'nope'", "unknown objective"),
    "another model": ("[model]\nhidden_size = 32\ndepth = 1", "is not a checkpoint"),
    "a model too large": ("[model]\nhidden_size = 9999996", "too large"),
    "another sampler": ("[eval]\nsampler = 'ddim'", "ddim"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_with_an_invalid_configuration_is_one_line(refused, one_run, name):
    text, reason = CONFIGS[name]
    (one_run / "config.toml").write_text(text)
    refused("sample", one_run, "--per-class", 1, parts=(reason,))


DATA = {
    "an unknown data set": ("name = '../../x'", "unknown data set"),
    "data that are gone": ("name = 'folder'\npath = 'gone'", "no such data"),
}


@pytest.mark.parametrize("name", DATA)
def test_a_run_that_does_not_record_its_data_needs_them(refused, one_run, name):
    text, reason = DATA[name]
    facts = json.loads((one_run / "env.json").read_text())
    del facts["data"]
    (one_run / "env.json").write_text(json.dumps(facts))
    (one_run / "config.toml").write_text(f"[data]\n{text}")
    refused("sample", one_run, "--per-class", 1, parts=(reason,))


@pytest.mark.parametrize(
    "data", [None, [], {"shape": [1, 8, 8]}, {"shape": [9**9], "classes": [""]}]
)
def test_a_damaged_record_of_the_data_is_one_line(refused, one_run, data):
    facts = json.loads((one_run / "env.json").read_text())
    (one_run / "env.json").write_text(json.dumps(facts | {"data": data}))
    refused("sample", one_run, "--per-class", 1, parts=("env.json",))


@pytest.mark.parametrize("name", ["config.toml", "checkpoints/latest.safetensors"])
@pytest.mark.parametrize("kind", ["gone", "a folder", "a link to itself", "a pipe"])
def test_a_run_without_a_file_is_one_line(refused, one_run, name, kind):
    path = one_run / name
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind == "a link to itself":
        path.symlink_to(path.name)
    elif kind == "a pipe":
        os.mkfifo(path)
    refused("sample", one_run, "--per-class", 1)
