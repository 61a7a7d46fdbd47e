import pytest

from ditbench.cli.options.training import Training
from ditbench.config import load, presets
from ditbench.data import SOURCES


@pytest.mark.parametrize("preset", presets())
def test_a_preset_names_an_existing_data_set(preset):
    assert load(preset).data.name in SOURCES


@pytest.mark.parametrize(("preset", "model"), [("cifar10", "S/4"), ("cifar10-s2", "S/2")])
def test_cifar10(preset, model):
    config = load(preset)
    assert (config.data.name, config.data.horizontal_flip) == ("cifar10", True)
    assert (config.model.size.name, config.objective.name) == (model, "flow")
    assert config.budget.steps * config.train.warmup == 500
    assert config.metrics.features == "cifar10"


def test_the_two_cifar10_presets_differ_only_in_the_patch_size():
    large, small = (load(name).model_dump() for name in ("cifar10", "cifar10-s2"))
    assert large.pop("preset") != small.pop("preset")
    assert (large["model"].pop("patch_size"), small["model"].pop("patch_size")) == (4, 2)
    assert large == small


def test_with_ddpm_gradients_are_clipped_and_the_final_score_takes_more_steps():
    flow, ddpm = (load(name).model_dump() for name in ("cifar10", "cifar10-ddpm"))
    assert (ddpm.pop("preset"), flow.pop("preset")) == ("cifar10-ddpm", "cifar10")
    assert ddpm["objective"].pop("name") == "ddpm"
    assert ddpm["train"].pop("grad_clip") == 0.1
    assert ddpm["eval"].pop("final_sampling_steps") == 250
    for table, key in (("objective", "name"), ("train", "grad_clip"),
                       ("eval", "final_sampling_steps")):  # fmt: skip
        del flow[table][key]
    assert ddpm == flow


def test_data_of_the_user_replace_those_of_the_preset(tmp_path):
    config = Training(preset="cifar10", data=tmp_path / "a.zip").configure()
    assert (config.data.name, config.data.path) == ("folder", tmp_path / "a.zip")
    assert config.data.horizontal_flip
