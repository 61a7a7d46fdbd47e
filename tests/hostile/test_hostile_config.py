"""Invalid settings, options and configuration files: one line, a hint, nothing written."""

# ruff: noqa: E501 (tables of cases)
import os

import pytest
from contract import assert_hint, in_time
from hypothesis import given, settings
from hypothesis import strategies as st

from ditbench.config import keys, load, validate
from ditbench.errors import DitbenchError
from ditbench.models.sizes import parse_model

RUN = ("run", "--block", "adaln", "--device", "cpu", "--quiet")
LONG = "1" * 400
DIGITS = "1" * 5_000
ZEROS = "1" + "0" * 30

# The value of `--set`, and a part of the error.
SETTINGS = [
    *[(f"train.lr={value}", "train.lr") for value in
      ("-1", "0", "nan", "inf", "-inf", "1e400", "true", "'x'", "[1]", "{a=1}", "2020-01-01", "", "fast")],
    *[(f"train.batch_size={value}", "batch") for value in
      ("0", "-1", "1.0", "1e3", "true", "nan", "''", "[1]", "{a=1}", "1798", ZEROS, "12:30:00")],
    *[(f"model.{key}={value}", "") for key in ("hidden_size", "depth", "num_heads", "patch_size")
      for value in ("0", "4.0")],
    *[(f"model.hidden_size={value}", "") for value in
      ("-4", "true", "'4'", "[4]", ZEROS, "63", "9999999", "65540", "2147483648")],
    *[(f"model.depth={value}", "") for value in ("65537", "999999999")],
    *[(f"model.mlp_ratio={value}", "mlp_ratio") for value in ("0", "-1", "65", "nan", "true")],
    *[(f"model.class_dropout_prob={value}", "class_dropout_prob") for value in ("1", "-1", "2")],
    *[(f"train.warmup={value}", "train.warmup") for value in ("-0.1", "1.1", "nan", "true")],
    *[(f"train.ema_decay={value}", "train.ema_decay") for value in ("-0.1", "1.1", "inf", "'x'")],
    *[(f"train.weight_decay={value}", "train.weight_decay") for value in ("-1", "nan", "true")],
    *[(f"train.grad_clip={value}", "train.grad_clip") for value in ("0", "-1", "nan", "false")],
    *[(f"train.precision={value}", "train.precision") for value in ("fp4", "32", "true", "''")],
    *[(f"train.on_nonfinite={value}", "train.on_nonfinite") for value in ("explode", "1", "''")],
    *[(f"eval.samples={value}", "eval.samples") for value in ("0", "1", "-2", "2.0", "true", "nan")],
    *[(f"eval.sampling_steps={value}", "sampling_steps") for value in ("0", "-1", "1.5", "true")],
    *[(f"eval.points={value}", "eval.points") for value in ("0", "-1", "true", "1201", ZEROS)],
    *[(f"eval.cfg_scale={value}", "eval.cfg_scale") for value in ("-1", "nan", "inf", "true", "'x'")],
    *[(f"eval.batch_size={value}", "eval.batch_size") for value in ("0", "-1", "0.5", "true")],
    *[(f"eval.sampler={value}", "") for value in ("../x", "''", "5", "ddpm", "eulerr", "[1]")],
    *[(f"budget.{key}={value}", "budget") for key in ("steps", "flops", "seconds")
      for value in ("0", "-1", "nan", "true", "'x'", "1e400", "[]")],
    *[(f"seed={value}", "seed") for value in ("-1", "1.5", "true", "'x'", str(2**63))],
    *[(f"data.name={value}", "") for value in ("../../etc", "''", "5", "[1]", "digit", "/etc/passwd")],
    *[(f"data.path={value}", "") for value in ("/etc/passwd", "5", "true", "[1]", '"\\u0000"')],
    *[(f"data.digest={value}", "") for value in ("x", "5", "true")],
    *[(f"data.horizontal_flip={value}", "horizontal_flip") for value in ("1", "'true'", "maybe")],
    *[(f"metrics.features={value}", "") for value in ("../x", "''", "5", "incepton")],
    *[(f"objective.name={value}", "") for value in ("../x", "''", "5", "flo")],
    *[(f"objective.learn_sigma={value}", "learn_sigma") for value in ("1", "'x'", "true")],
    *[(f"preset={value}", "preset") for value in
      ("../x", "..", ".", "a/b", "/abs", "''", "-x", '"a\\u0000"', "~", "a b", '"a\\\\b"')],
    *[(text, "") for text in
      ("=", "=1", ".=1", "..=1", "train..lr=1", "train.=1", ".train=1", "train", "data=1", "train.lr.x=1",
       "unknown=1", "train.LR=1", "\x1b[31m=1", "a\nb=1", "é=1", "x" * 1_000 + "=1", "__class__=1",
       "train.__init__=1", "budget={}", "budget={steps=1,flops=1.0}", "budget=5", "model=[]")],
]  # fmt: skip

MODELS = ["", "/", "S", "S/0", "S/-1", "S/x", "S/3", "XXL/2", "x/x", "64x4x4", "64x4x4/0", "64x4x4/-1",
          "64x4x5/2", "62x4x2/2", "64.0x4x4/2", "64x4x4/2/2", "9999999x1x1/1", "65540x1x1/1",
          "4x70000x1/1", "64x999999999999x4/2", ZEROS + "x1x1/2", "64x4x" + ZEROS + "/2",
          "S/" + ZEROS, "-64x4x4/2", "64x4x4/16", "../../S/2", "S\n/2", "x" * 900]  # fmt: skip

OPTIONS = [
    ("--lr", "nan"), ("--lr", "inf"), ("--lr", "1e999"), ("--lr", "x"), ("--lr", "-0.0"),
    ("--batch-size", "0"), ("--batch-size", "-1"), ("--batch-size", "1.5"), ("--batch-size", ZEROS),
    ("--steps", "0"), ("--steps", "1e3"), ("--steps", "nan"), ("--steps", ZEROS), ("--steps", "k"),
    ("--steps", "5"), ("--flops", "0"), ("--flops", "1"), ("--flops", "nan"), ("--flops", "1e999"),
    ("--flops", "-1PF"), ("--time", "0"), ("--time", "nan"), ("--time", "1y"), ("--time", "-5m"),
    ("--time", "1" * 400), ("--steps", "10", "--time", "5m"), ("--seeds", "1e3"), ("--seeds", "0,,1"),
    ("--seeds", "0;1"), ("--seeds", "-1"), ("--seeds", ZEROS), ("--seeds", "9" * 400 + ","),
    ("--preset", "../digits"), ("--preset", ""), ("--preset", "/etc/passwd"),
    ("--objective", "../flow"), ("--objective", ""), ("--precision", "fp64"), ("--device", "cpu:x"),
    ("--device", "cuda:-1"), ("--device", ""), ("--device", "mkldnn"), ("--device", "meta"),
    ("--set", "train.batch_size=" + DIGITS), ("--set", "model.mlp_ratio=1e-300"),
    ("--set", "eval.samples=1" + "0" * 15), ("--set", "eval.samples=1" + "0" * 400),
    ("--set", "eval.cfg_scale=1e308"), ("--set", "eval.batch_size=" + ZEROS),
    ("--set", 'preset="a\\n"'), ("--model", f"{DIGITS}x4x4/2"), ("--model", f"S/{DIGITS}"),
    ("--model", "S/2\0x"), ("--preset", "digits\0"), ("--seeds", "9" * 4_000 + ","),
    ("--config", "x" * 5_000),
]  # fmt: skip


@pytest.mark.parametrize(("setting", "named"), SETTINGS)
def test_an_invalid_setting_is_one_line(refused, setting, named):
    refused(*RUN, "--set", setting, parts=(named,))


@pytest.mark.parametrize("model", MODELS)
def test_an_invalid_model_is_one_line(refused, model):
    refused(*RUN, "--model", model)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(options)[:40])
def test_an_invalid_option_is_one_line(refused, options):
    refused(*RUN, *options)


def test_sampling_steps_beyond_the_schedule_are_one_line(refused):
    for steps, reason in (("1001", "out of range"), (ZEROS, "eval.sampling_steps")):
        setting = f"eval.sampling_steps={steps}"
        refused(*RUN, "--objective", "ddpm", "--set", setting, parts=(reason,))


@pytest.mark.parametrize("place", ["file", "file/x", "pipe", "/dev/null", "/dev/null/x"])
def test_an_out_that_is_not_a_folder_is_one_line(refused, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    small = ("--model", "16x1x2/2", "--steps", "6", "--set", "eval.samples=40")
    refused(*RUN, *small, "--out", place, code=1)


TOML = {
    "a key twice": b"[train]\nlr = 1.0\nlr = 2.0\n",
    "a table twice": b"[train]\nlr = 1.0\n[train]\n",
    "UTF-16 without a byte order mark": "[train]\nlr = 1.0\n".encode("utf-16-le"),
    "UTF-16 cut short": "[train]\nlr = 1.0\n".encode("utf-16")[:-1],
    "Latin-1": "[data]\nname = 'é'\n".encode("latin-1"),
    "NUL bytes": b"\0" * 4_096,
    "JSON": b'{"train": {"lr": 1}}',
    "a pickle": b"\x80\x04\x95cos\nsystem\n(S'touch pwned'\ntR.",
    "a lone bracket": b"[",
    "an open text": b'[data]\nname = """x',
    "a control character": b"[data]\nname = '\x1b[2J'\n",
    "an unknown key": b"[train]\nlearning_rate = 1.0\n",
    "an unknown section": b"[trian]\nlr = 1.0\n",
    "an unknown key at the top": b"carbon = 1\n",
    "a value for a section": b"train = 1\n",
    "a list for a section": b"[[train]]\nlr = 1.0\n",
    "a section for a value": b"[train.lr]\nx = 1\n",
    "two budgets": b"[budget]\nsteps = 1\nflops = 1.0\n",
    "a text for a number": b"[train]\nlr = '1.0'\n",
    "a date for a number": b"[train]\nlr = 2020-01-01\n",
    "a whole number of 400 digits": b"[train]\nbatch_size = " + LONG.encode(),
    "another digest": b"[data]\ndigest = 'abc'\n",
    "a preset that climbs": b"preset = '../../x'\n",
    "a block that is none": b"[model]\nblock = 'adaln'\n",
    "lists without end": b"a = " + b"[" * 100_000,
}


@pytest.mark.parametrize("name", TOML)
def test_an_invalid_configuration_file_is_one_line(refused, tmp_path, name):
    (tmp_path / "config.toml").write_bytes(TOML[name])
    refused(*RUN, "--config", tmp_path / "config.toml")


@pytest.mark.parametrize("path", ["", ".", "none.toml", "x" * 500, "loop.toml", "none/x.toml"])
def test_a_configuration_that_is_not_a_file_is_one_line(refused, tmp_path, path):
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    refused(*RUN, "--config", path, parts=("cannot read",))


def test_a_runs_configuration_with_keys_of_another_version_is_one_line(refused, trained, tmp_path):
    text = (trained / "config.toml").read_text()
    (tmp_path / "config.toml").write_text(text + "\n[carbon]\nprice = 1\n")
    refused(*RUN, "--config", tmp_path / "config.toml", parts=("unknown key 'carbon'",))


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.dates() | st.sampled_from([10**30, -(10**30), 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(keys()) | st.text(max_size=12), ANY_VALUE, max_size=3))
def test_any_table_is_a_configuration_or_one_line(overrides):
    try:
        config = load(overrides=overrides)
    except DitbenchError as error:
        assert_hint(error)
    else:
        assert validate(config.model_dump(exclude_none=True)) == config
        assert len(config.fingerprint) == 64


@settings(max_examples=100, deadline=None)
@given(st.text("SBLX0123456789x/.- ", max_size=14) | st.text(max_size=14))
def test_any_name_is_a_model_or_one_line(name):
    try:
        with in_time():
            size = parse_model(name)
    except DitbenchError as error:
        assert_hint(error)
    else:
        assert min(vars(size).values()) > 0
