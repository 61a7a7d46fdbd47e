"""What `ditbench settings` and the documentation say of each key."""

import re
import tomllib

import pytest

from ditbench.config.describe import settings
from ditbench.config.schema import RunConfig, keys, put, section_names, validate
from ditbench.data import SOURCES
from ditbench.errors import DitbenchError
from ditbench.metrics import find_metrics
from ditbench.objectives import OBJECTIVES, create_objective

BY_KEY = {each.key: each for each in settings()}


def test_every_key_has_one_entry_with_a_meaning_in_whole_sentences():
    assert [each.key for each in settings()] == keys()
    for each in settings():
        assert re.fullmatch(r"[^\n]{5,}[.`]", each.meaning), each


def test_defaults_are_those_of_a_configuration_and_can_be_given_back():
    table = {}
    for key, setting in BY_KEY.items():
        if setting.default != "unset":
            put(table, tomllib.loads(f"value = {setting.default}") and {key: _value(setting)})
    assert validate(table) == RunConfig()


def _value(setting):
    return tomllib.loads(f"value = {setting.default}")["value"]


@pytest.mark.parametrize(
    ("key", "kind", "default"),
    [
        ("train.lr", "number above 0", "0.001"),
        ("train.warmup", "number at least 0, at most 1", "0.04"),
        ("train.precision", "auto, fp32, bf16, bf16-residual or fp8", '"auto"'),
        ("train.grad_clip", "number above 0", "unset"),
        ("model.qk_norm", "true or false", "false"),
        ("model.class_dropout_prob", "number at least 0, below 1", "0.1"),
        ("data.path", "path", "unset"),
        ("data.image_size", "whole number above 0, at most 4,096", "unset"),
        ("metrics.also", "names, joined by commas", "[]"),
        ("budget.steps", "whole number above 0", "1200"),
        ("seed", "whole number at least 0", "0"),
        ("options", "whole numbers above 0", "{}"),
    ],
)
def test_types_and_limits_are_words(key, kind, default):
    assert BY_KEY[key][1:3] == (kind, default)


def test_names_that_a_key_takes_are_all_in_its_meaning():
    names = {
        "data.name": SOURCES,
        "objective.name": OBJECTIVES,
        "eval.sampler": [name for each in OBJECTIVES for name in create_objective(each).samplers],
        "metrics.extra": {metric.name for metric in find_metrics(["inception_score"])[-1:]},
    }
    for key, known in names.items():
        assert all(re.search(rf"\b{name}\b", BY_KEY[key].meaning) for name in known), key


def test_one_key_or_one_section():
    assert [each.key for each in settings("train.lr")] == ["train.lr"]
    assert [each.key for each in settings("budget")] == [
        "budget.steps", "budget.flops", "budget.seconds"]  # fmt: skip
    assert {each.key.partition(".")[0] for each in settings() if "." in each.key} == {
        *section_names()
    }


def test_an_unknown_key_gets_the_nearest():
    with pytest.raises(DitbenchError, match="unknown key 'lr'") as caught:
        settings("lr")
    assert "train.lr" in caught.value.hint
