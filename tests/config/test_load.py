"""The layers of a configuration, and the files that they are read from."""

import re
from operator import attrgetter
from pathlib import Path

import pytest

from ditbench.config import load, presets
from ditbench.errors import DitbenchError


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
    read = attrgetter(text.partition("=")[0].strip())(load(settings=(text,)))
    assert read == expected
    assert type(read) is type(expected)


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


@pytest.mark.parametrize("key", ["preset", "data.path", "eval.sampler"])
@pytest.mark.parametrize("text", ["2024", "1e3", "2024-01-01", "true", "0x10", "[1]", "inf"])
def test_a_key_of_texts_takes_what_looks_like_another_value(key, text):
    if (key, text) != ("preset", "[1]"):  # not the name of a directory
        value = attrgetter(key)(load(settings=(f"{key} = {text}",)))
        assert str(value) == text
    assert attrgetter("eval.sampler")(load(settings=('eval.sampler = "1e3"',))) == "1e3"


def test_no_message_names_a_type_of_python(tmp_path):
    file = tmp_path / "mine.toml"
    for content in ("data.path = 1.5", "options = 1", "data.path = [1]", "data.path = true"):
        file.write_text(content)
        with pytest.raises(DitbenchError) as caught:
            load(file=file)
        assert not re.search("class|pathlib|dict|None", caught.value.message)
