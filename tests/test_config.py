"""The configuration: its layers, its fingerprint, its text, and what it refuses."""

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ditbench.config import RunConfig, keys, load, presets, read_toml, validate
from ditbench.errors import DitbenchError
from ditbench.models.sizes import ModelSize

REFERENCE = Path(__file__).parents[1] / "results" / "reference"

# A value other than the preset's for every key: a new key fails the test until it is here.
OTHER = {
    "preset": "mine",
    "block": "adaln",
    "seed": 1,
    "data.name": "folder",
    "data.path": "cats",
    "data.digest": "0" * 64,
    "data.horizontal_flip": True,
    "model.hidden_size": 128,
    "model.depth": 5,
    "model.num_heads": 8,
    "model.patch_size": 4,
    "model.mlp_ratio": 2.0,
    "model.class_dropout_prob": 0.2,
    "model.qk_norm": True,
    "model.norm": "rms",
    "model.registers": 4,
    "objective.name": "ddpm",
    "objective.learn_sigma": False,
    "budget.steps": 1201,
    "budget.flops": 1e12,
    "budget.seconds": 60.0,
    "train.batch_size": 64,
    "train.lr": 2e-3,
    "train.weight_decay": 0.1,
    "train.warmup": 0.1,
    "train.ema_decay": 0.99,
    "train.precision": "bf16",
    "train.grad_clip": 1.0,
    "train.on_nonfinite": "skip",
    "eval.points": 5,
    "eval.samples": 500,
    "eval.sampler": "heun",
    "eval.sampling_steps": 10,
    "eval.cfg_scale": 4.0,
    "eval.batch_size": 100,
    "metrics.features": "inception",
    "metrics.inception_weights": "weights.pth",
    "options": {"lora_rank": 4},
    "strategy.location": "/home/me/my_block.py:MyBlock",
    "strategy.sha256": "0" * 64,
}
OTHER_BUDGETS = ("budget.flops", "budget.seconds")
LABELS = {"preset", "seed", "data.path", "metrics.inception_weights", "strategy.location"}

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
shares = st.floats(0, 1)
sizes = st.integers(1, 2**40)
configs = st.fixed_dictionaries(
    {},
    optional={
        "preset": st.from_regex(r"\w[\w.-]*", fullmatch=True),
        "block": words,
        "seed": st.integers(0, 2**63 - 1),
        "data": st.fixed_dictionaries({"name": words, "path": st.just("a b/ü.zip")}),
        "model": st.fixed_dictionaries({"hidden_size": sizes, "mlp_ratio": st.floats(1, 64)}),
        "budget": st.one_of(
            st.builds(lambda n: {"steps": n}, st.integers(6, 10**15)),
            st.builds(lambda n: {"flops": n}, st.floats(1e-3, 1e30)),
            st.builds(lambda n: {"seconds": n}, st.floats(1e-3, 1e9)),
        ),
        "objective": st.fixed_dictionaries({"learn_sigma": st.booleans()}),
        "train": st.fixed_dictionaries({"lr": st.floats(1e-300, 1e300), "ema_decay": shares}),
        "eval": st.fixed_dictionaries({"samples": st.integers(2, 10**7), "cfg_scale": shares}),
    },
).map(validate)


def value(config, key):
    for part in key.split("."):
        config = getattr(config, part)
    return config


def test_later_layers_win(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nlr = 0.1\nbatch_size = 10\nwarmup = 0.5\n")
    settings = ("train.lr=0.2", "train.batch_size=20")
    preset = load("digits")
    config = load("digits", file, settings, {"train.lr": 0.3})
    assert config.train.lr == 0.3
    assert config.train.batch_size == 20
    assert config.train.warmup == 0.5
    assert config.train.ema_decay == preset.train.ema_decay
    assert (preset.train.lr, preset.train.batch_size) == (1e-3, 128)


def test_a_later_setting_of_a_key_wins():
    assert load(settings=("train.lr=1", "train.lr=2")).train.lr == 2


def test_the_preset_is_named_unless_a_file_does(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('preset = "mine"')
    assert load("digits").preset == "digits"
    assert load("digits", file).preset == "mine"


@pytest.mark.parametrize("preset", presets())
def test_every_preset_is_valid_and_named_after_its_file(preset):
    assert load(preset).preset == preset


@pytest.mark.parametrize(
    ("text", "expected"),
    [("eval.sampler=heun", "heun"), ('eval.sampler="heun"', "heun"),
     ("eval.sampler = heun ", "heun"),
     ("train.lr=3e-4", 3e-4), ("train.lr=1", 1.0), ("budget.steps=2_000", 2000),
     ("data.horizontal_flip=true", True), ("data.path=a=b", Path("a=b"))],
)  # fmt: skip
def test_a_setting_is_read_as_toml_or_as_text(text, expected):
    read = value(load(settings=(text,)), text.partition("=")[0].strip())
    assert read == expected
    assert type(read) is type(expected)


def test_this_test_knows_every_key():
    assert keys() == list(OTHER)


@pytest.mark.parametrize("key", OTHER)
def test_the_fingerprint_follows_what_determines_the_result(key):
    preset, changed = load(), load(overrides={key: OTHER[key]})
    assert value(changed, key) != value(preset, key)
    assert (changed.fingerprint == preset.fingerprint) == (key in LABELS)


@given(configs)
def test_equal_configurations_have_equal_fingerprints_and_text(config):
    again = validate(tomllib.loads(config.to_toml()))
    assert again == config
    assert again.to_toml() == config.to_toml()
    assert again.fingerprint == config.fingerprint
    assert len(bytes.fromhex(config.fingerprint)) == 32


def test_whole_numbers_of_a_float_key_are_one_value():
    assert load(overrides={"eval.cfg_scale": 4}).fingerprint == (
        load(overrides={"eval.cfg_scale": 4.0}).fingerprint
    )


def test_the_text_is_a_file_that_load_reads_back(tmp_path):
    file = tmp_path / "config.toml"
    one_budget = {key: OTHER[key] for key in OTHER if key not in OTHER_BUDGETS}
    config = load(overrides=one_budget)
    file.write_text(config.to_toml(), "utf-8")
    assert load("digits", file) == config


def test_with_values_makes_a_checked_copy():
    config = load()
    changed = config.with_values(block="adaln", train__lr=0.5)
    assert (changed.block, changed.train.lr) == ("adaln", 0.5)
    assert changed.with_values(block=config.block, train__lr=config.train.lr) == config
    assert (config.block, config.train.lr) == ("adaln-zero", 1e-3)
    with pytest.raises(DitbenchError, match=r"train\.lr = -1"):
        config.with_values(train__lr=-1)


@pytest.mark.parametrize("change", [lambda c: setattr(c, "seed", 1),
                                    lambda c: setattr(c.train, "lr", 1.0)])  # fmt: skip
def test_a_configuration_is_frozen(change):
    with pytest.raises(ValidationError, match="frozen"):
        change(load())


def test_the_models_name_is_the_papers_where_it_has_one():
    assert load().model.name == "64x4x4/2"
    size = vars(ModelSize(384, 12, 6, 4))
    assert load(overrides={f"model.{key}": n for key, n in size.items()}).model.name == "S/4"


@pytest.mark.parametrize(
    "setting",
    ["seed=-1", "seed=9223372036854775808", "block=1", "model.depth=0", "model.mlp_ratio=0",
     "model.class_dropout_prob=0", "model.class_dropout_prob=1", "budget.steps=0",
     "budget.steps=1e3", "train.batch_size=true", "train.lr=nan", "train.lr=inf", "train.lr='1'",
     "train.warmup=1.1", "train.ema_decay=1.1", "eval.points=0", "eval.samples=1",
     "eval.cfg_scale=-1", "data.horizontal_flip=1", "data.path=1", "model.depth={a=1}",
     "budget.steps=1000000000000001", "budget.flops=0", "budget.flops=-1", "budget.flops=inf",
     "budget.flops=1e31", "budget.seconds=0", "budget.seconds=nan", "budget.seconds='1m'",
     "train.precision=fp8", "train.grad_clip=0", "train.grad_clip=none",
     "model.qk_norm=1", "model.qk_norm=yes", "model.norm=batch", "model.norm=true",
     "model.registers=-1", "model.registers=65537", "model.registers=true",
     "model.registers=1.5", "train.on_nonfinite=ignore", "objective.learn_sigma=no"],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused_with_its_key(setting):
    key = setting.partition("=")[0]
    with pytest.raises(DitbenchError, match=rf"^{key} = ") as caught:
        load(settings=(setting,))
    assert key in caught.value.hint
    assert "Input" not in caught.value.message


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-x", "a b", "x\n"])
def test_a_preset_names_one_directory(name):
    with pytest.raises(DitbenchError, match="cannot name a directory"):
        load(overrides={"preset": name})


FLOPS, SECONDS = {"budget.flops": 1e12}, {"budget.seconds": 60.0}


@pytest.mark.parametrize("settings", [(), ("budget.steps=7",), ("train.lr=1",)])
@pytest.mark.parametrize("text", ["", "[budget]", "[budget]\nsteps = 9", "[budget]\nflops = 1e9"])
def test_a_later_budget_replaces_an_earlier_one_in_another_unit(tmp_path, text, settings):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    budget = load("digits", file, settings, SECONDS).budget
    assert (budget.steps, budget.flops, budget.seconds) == (None, None, 60.0)


def test_a_file_s_budget_replaces_the_preset_s_and_gives_way_to_a_setting(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[budget]\nflops = 1e12")
    assert load("digits", file).budget.model_dump(exclude_none=True) == {"flops": 1e12}
    config = load("digits", file, ("budget.steps=50",))
    assert config.budget.model_dump(exclude_none=True) == {"steps": 50}


def test_with_values_replaces_a_budget_too():
    assert load().with_values(budget__seconds=5.0).budget.model_dump(exclude_none=True) == {
        "seconds": 5.0
    }


def test_two_budgets_in_one_layer_are_refused_and_named(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[budget]\nsteps = 9\nseconds = 9.0")
    layers = (
        lambda: load("digits", file),
        lambda: load(settings=("budget.steps=9", "budget.seconds=9")),
        lambda: load(overrides={"budget.steps": 9} | SECONDS),
    )
    for layer in layers:
        with pytest.raises(DitbenchError, match=r"budget\.steps and budget\.seconds") as caught:
            layer()
        assert "budget.flops" in caught.value.hint
        assert caught.value.exit_code == 2


def test_no_budget_at_all_is_refused():
    with pytest.raises(DitbenchError, match="no budget"):
        validate({"budget": {}})
    assert validate({}).budget.steps == 1200


def test_a_preset_s_bound_of_the_ema_is_lifted_where_blocks_differ_in_steps(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nema_decay = 0.99")
    for budget in (FLOPS, SECONDS):
        assert load(overrides=budget).train.ema_decay == 1
        assert load(settings=("train.ema_decay=0.9",), overrides=budget).train.ema_decay == 0.9
        assert load("digits", file, overrides=budget).train.ema_decay == 0.99
        # What a run writes is read back as it was.
        text = tmp_path / "config.toml"
        text.write_text(load(overrides=budget).to_toml())
        assert load("digits", text) == load(overrides=budget)
    assert load(overrides={"budget.steps": 9}).train.ema_decay == 0.999


@pytest.mark.parametrize(
    "directory", sorted(REFERENCE.glob("*/*/*")), ids=lambda path: "/".join(path.parts[-2:])
)
def test_the_reference_runs_keep_their_fingerprints(directory):
    """Keys that came later must not change what was measured before them."""
    expected = json.loads((directory / "result.json").read_text())["fingerprint"]
    config = validate(read_toml(directory / "config.toml"))
    assert config.fingerprint == expected
    assert directory.name == f"seed{config.seed}-{expected[:8]}"
    assert load("digits", directory / "config.toml") == config
    assert config.to_toml() == (directory / "config.toml").read_text()


def test_there_are_reference_runs():
    assert len(list(REFERENCE.glob("*/*/*/result.json"))) >= 12


def test_as_many_evaluations_as_steps_at_most():
    assert load(overrides={"budget.steps": 6, "eval.points": 6}).eval.points == 6
    with pytest.raises(DitbenchError, match=r"eval\.points \(7\) exceed budget\.steps \(6\)"):
        RunConfig().with_values(budget__steps=6, eval__points=7)


def test_a_file_is_named_when_it_cannot_be_read(tmp_path):
    for path, words in ((tmp_path, "cannot read"), (tmp_path / "no.toml", "cannot read")):
        with pytest.raises(DitbenchError, match=words) as caught:
            read_toml(path)
        assert str(path) in caught.value.message
