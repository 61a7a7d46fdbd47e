"""The sections of a configuration: fingerprint, text, and which values are refused."""

import json
import tomllib
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ditbench.config import RunConfig, keys, load, read_toml, validate
from ditbench.errors import DitbenchError
from ditbench.models.sizes import ModelSize

REFERENCE = Path(__file__).parents[2] / "results" / "reference"

# A value other than the preset's for every key: a new key fails the test until it is here.
OTHER = {
    "preset": "mine",
    "block": "adaln",
    "seed": 1,
    "data.name": "folder",
    "data.path": "cats",
    "data.digest": "0" * 64,
    "data.horizontal_flip": True,
    "data.image_size": 64,
    "data.background": "black",
    "data.random_crop": True,
    "data.max_unreadable": 0.5,
    "data.label_column": "kind",
    "data.vae": "vae",
    "data.vae_digest": "0" * 64,
    "data.scaling_factor": 0.5,
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
    "train.backend": "plain",
    "train.micro_batch": 32,
    "train.checkpoint_blocks": True,
    "eval.points": 5,
    "eval.samples": 500,
    "eval.sampler": "heun",
    "eval.sampling_steps": 10,
    "eval.cfg_scale": 4.0,
    "eval.batch_size": 100,
    "eval.labels": "data",
    "eval.final_sampling_steps": 250,
    "eval.clip": False,
    "eval.cfg_channels": 3,
    "eval.variance": "large",
    "eval.spacing": "stride",
    "eval.draws": 3,
    "metrics.features": "inception",
    "metrics.inception_weights": "weights.pth",
    "metrics.extra": ["fid_infinity"],
    "metrics.also": ["efficientnet-lite0"],
    "metrics.real": "imagenet",
    "metrics.real_digest": "0" * 64,
    "options": {"lora_rank": 4},
    "strategy.location": "/home/me/my_block.py:MyBlock",
    "strategy.sha256": "0" * 64,
    "parent.path": "results/digits/adaln/seed0-00000000",
    "parent.fingerprint": "0" * 64,
    "parent.steps": 600,
    "parent.points": 2,
    "init.path": "/home/me/DiT-XL-2-256x256.pt",
    "init.sha256": "1" * 64,
}
# Of these, all are given or none.
PARENT = ("parent.fingerprint", "parent.steps", "parent.points")
OTHER_BUDGETS = ("budget.flops", "budget.seconds")
LABELS = {"preset", "seed", "data.path", "metrics.inception_weights", "strategy.location",
          "data.vae", "metrics.real",
          "train.backend", "train.micro_batch", "train.checkpoint_blocks",
          "metrics.extra", "metrics.also", "eval.draws",
          "parent.path", "init.path", "data.image_size", "data.background", "data.random_crop",
          "data.max_unreadable", "data.label_column", "data.scaling_factor"}  # fmt: skip

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


def test_this_test_knows_every_key():
    assert keys() == list(OTHER)


@pytest.mark.parametrize("key", OTHER)
def test_the_fingerprint_follows_what_determines_the_result(key):
    together = PARENT if key in PARENT else (key,)
    preset, changed = load(), load(overrides={each: OTHER[each] for each in together})
    assert attrgetter(key)(changed) != attrgetter(key)(preset)
    assert (changed.fingerprint == preset.fingerprint) == (key in LABELS)


@given(configs)
def test_equal_configurations_have_equal_fingerprints_and_text(config):
    again = validate(tomllib.loads(config.to_toml()))
    assert again == config
    assert again.to_toml() == config.to_toml()
    assert again.fingerprint == config.fingerprint
    assert len(bytes.fromhex(config.fingerprint)) == 32


@pytest.mark.parametrize(
    ("text", "names"),
    [("a", ("a",)), ("a, b", ("a", "b")), ('["a", "b"]', ("a", "b")), ("[]", ()), ("''", ())],
)
def test_names_are_a_list_or_a_text_with_commas(text, names):
    config = load(settings=(f"metrics.also={text}",))
    assert config.metrics.also == names
    assert validate(tomllib.loads(config.to_toml())) == config


def test_further_features_are_named_once():
    also = ["inception", "digits", "inception", "dinov2"]
    assert load(overrides={"metrics.also": also}).metrics.further == ("inception", "dinov2")


def test_whole_numbers_of_a_float_key_are_one_value():
    assert load(overrides={"eval.cfg_scale": 4}).fingerprint == (
        load(overrides={"eval.cfg_scale": 4.0}).fingerprint
    )


def test_with_values_makes_a_checked_copy():
    config = load()
    changed = config.with_values(block="adaln", train__lr=0.5)
    assert (changed.block, changed.train.lr) == ("adaln", 0.5)
    assert changed.with_values(block=config.block, train__lr=config.train.lr) == config
    assert (config.block, config.train.lr) == ("adaln-zero", 1e-3)
    with pytest.raises(DitbenchError, match=r"train\.lr = -1"):
        config.with_values(train__lr=-1)
    budget = config.with_values(budget__seconds=5.0).budget
    assert budget.model_dump(exclude_none=True) == {"seconds": 5.0}


@pytest.mark.parametrize("change", [lambda c: setattr(c, "seed", 1),
                                    lambda c: setattr(c.train, "lr", 1.0)])  # fmt: skip
def test_a_configuration_is_frozen(change):
    with pytest.raises(ValidationError, match="frozen"):
        change(load())


def test_the_models_name_is_the_papers_where_it_has_one():
    assert load().model.size.name == "64x4x4/2"
    size = vars(ModelSize(384, 12, 6, 4))
    assert load(overrides={f"model.{key}": n for key, n in size.items()}).model.size.name == "S/4"


@pytest.mark.parametrize(
    "setting",  # tests/hostile has more, on the command line
    ["seed=-1", "strategy.sha256=1", "train.lr=nan", "eval.points=0",
     "budget.steps=1000000000000001",
     "budget.flops=1e31", "budget.seconds='1m'", "train.precision=fp4", "train.grad_clip=none",
     "model.qk_norm=1", "model.qk_norm=yes", "model.norm=batch", "model.norm=true",
     "model.registers=-1", "model.registers=65537", "model.registers=true",
     "model.registers=1.5", "metrics.also=3", "train.backend=triton",
     "objective.learn_sigma=no"],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused_with_its_key(setting):
    key = setting.partition("=")[0]
    with pytest.raises(DitbenchError, match=rf"^{key} = ") as caught:
        load(settings=(setting,))
    assert key in caught.value.hint
    assert "Input" not in caught.value.message


def test_no_budget_at_all_is_refused():
    with pytest.raises(DitbenchError, match="no budget"):
        validate({"budget": {}})
    assert validate({}).budget.steps == 1200


@pytest.mark.parametrize(
    "directory",
    sorted(path.parent for path in REFERENCE.rglob("config.toml")),
    ids=lambda path: "/".join(path.parts[-3:]),
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
    assert len(list(REFERENCE.rglob("result.json"))) >= 83


def test_as_many_evaluations_as_steps_at_most():
    assert load(overrides={"budget.steps": 6, "eval.points": 6}).eval.points == 6
    with pytest.raises(DitbenchError, match=r"eval\.points \(7\) exceed budget\.steps \(6\)"):
        RunConfig().with_values(budget__steps=6, eval__points=7)


def test_the_backend_is_in_the_text_only_where_it_was_asked_for():
    assert "backend" not in load().to_toml()
    asked = load(settings=("train.backend=kernels",))
    assert 'backend = "kernels"' in asked.to_toml()
    assert validate(tomllib.loads(asked.to_toml())) == asked


def test_the_text_is_a_file_that_load_reads_back(tmp_path):
    file = tmp_path / "config.toml"
    one_budget = {key: OTHER[key] for key in OTHER if key not in OTHER_BUDGETS}
    config = load(overrides=one_budget)
    file.write_text(config.to_toml(), "utf-8")
    assert load("digits", file) == config


@pytest.mark.parametrize("key", PARENT)
def test_a_parent_is_given_as_a_whole(key):
    with pytest.raises(DitbenchError, match="only some are given"):
        load(overrides={key: OTHER[key]})


@pytest.mark.parametrize("change", [{"budget.steps": 600}, {"eval.points": 2},
                                    {"budget.flops": 1e12}, {"budget.steps": 602}])  # fmt: skip
def test_after_a_parent_something_is_left_to_do(change):
    parent = {key: OTHER[key] for key in PARENT}
    assert load(overrides=parent).parent.steps == 600
    with pytest.raises(DitbenchError, match="nothing is left"):
        load(overrides=parent | change)
