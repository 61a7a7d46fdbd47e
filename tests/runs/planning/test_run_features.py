"""The features of a run that asks for `auto`."""

import os
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from ditbench.config import RunConfig
from ditbench.errors import DitbenchError
from ditbench.metrics import extractor_class
from ditbench.rundir import TUNING
from ditbench.runs.planning.features import choose_features

AUTO = RunConfig().with_values(metrics__features="auto", data__name="npz", preset="mine")


@pytest.fixture(autouse=True)
def inception(tmp_path, monkeypatch):
    """A cache of torch that has Inception's file."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    path = extractor_class("inception").weights_file()
    path.parent.mkdir(parents=True)
    path.touch()


def begin(out, config, seconds, folder="mine/adaln/seed0-01234567"):
    """A run that was begun at a time."""
    path = out / folder / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(config.to_toml())
    os.utime(path, (seconds, seconds))


def scored_in(name, **values):
    return AUTO.with_values(metrics__features=name, **values)


def test_a_name_stays(tmp_path):
    assert choose_features(scored_in("resnet18"), tmp_path) == ("resnet18", "")


def test_published_statistics_are_of_inception(tmp_path):
    path = tmp_path / "published.npz"
    np.savez(path, mu=np.zeros(4), sigma=np.eye(4))
    begin(tmp_path, scored_in("resnet18"), 1)
    config = AUTO.with_values(data__vae="vae", metrics__real=str(path))
    assert choose_features(config, tmp_path) == ("inception", f"as those of {path}")


def test_an_npz_of_latents_is_compared_as_latents_unless_they_are_decoded(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, latents=np.zeros((4, 4, 8, 8), np.float32), labels=np.arange(4))
    config = AUTO.with_values(data__path=str(path))
    assert choose_features(config)[0] == "latents"
    assert choose_features(config.with_values(data__vae="vae"))[0] == "inception"


def test_weights_that_arrive_later_do_not_change_the_runs_of_a_directory(tmp_path):
    assert choose_features(AUTO, tmp_path)[0] == "inception"
    begin(tmp_path, scored_in("efficientnet-lite0"), 2000)
    name, why = choose_features(AUTO, tmp_path)
    assert (name, why) == ("efficientnet-lite0", f"as in earlier runs in {tmp_path / 'mine'}")
    begin(tmp_path, scored_in("resnet18"), 3000, "mine/adaln/seed0-later")
    assert choose_features(AUTO, tmp_path)[0] == "efficientnet-lite0"
    begin(tmp_path, scored_in("resnet50"), 1000, f"{TUNING}/mine/adaln/seed0-earlier")
    assert choose_features(AUTO, tmp_path)[0] == "resnet50"


def test_runs_of_other_images_other_presets_and_damaged_ones_do_not_count(tmp_path):
    begin(tmp_path, scored_in("resnet18", data__name="folder"), 1, "mine/adaln/seed0-a")
    begin(tmp_path, scored_in("resnet18"), 2, "other/adaln/seed0-b")
    begin(tmp_path, scored_in("digits"), 3, "mine/adaln/seed0-c")
    for number, text in enumerate(("metrics = 1\ndata = 2", "not TOML")):
        path = tmp_path / f"mine/adaln/seed0-damaged{number}/config.toml"
        path.parent.mkdir()
        path.write_text(text)
    assert choose_features(AUTO, tmp_path)[0] == "inception"


def test_a_plan_has_the_name_and_never_auto(make_plan):
    plan = make_plan(metrics__features="auto")
    assert plan.config.metrics.features == "digits"
    assert plan.config.fingerprint == make_plan().config.fingerprint


def test_nothing_at_hand_is_found_while_planning(make_plan, monkeypatch):
    monkeypatch.setattr(
        "ditbench.runs.planning.features.at_hand",
        Mock(side_effect=DitbenchError("no features are at hand", "pip install it")),
    )
    with pytest.raises(DitbenchError, match="no features are at hand"):
        make_plan(metrics__features="auto")
