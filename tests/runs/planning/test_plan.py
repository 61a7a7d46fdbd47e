"""Plans: settings resolved, and errors before anything is written."""

from unittest.mock import Mock

import pytest
import torch
from PIL import Image

from ditbench.data.digits import load_digits
from ditbench.errors import DitbenchError
from ditbench.models.registry import block_names
from ditbench.runs.planning import plan as plan_module
from ditbench.runs.planning.plan import build_model, plan_all
from ditbench.runs.run import execute


def test_auto_is_resolved_before_the_fingerprint(make_plan):
    auto = make_plan(eval__sampler="auto", train__precision="auto").config
    named = make_plan(eval__sampler="euler", train__precision="fp32").config
    assert auto == named
    assert auto.fingerprint == named.fingerprint


@pytest.mark.parametrize(
    ("values", "message"),
    [
        # tests/cli/test_cli_errors.py has more, on the command line
        ({"eval__sampler": "ddim"}, "unknown sampler of flow 'ddim'"),
        ({"eval__samples": 9}, "eval.samples = 9 is fewer than the 10 classes"),
        ({"data__digest": "0" * 64}, "differ from those this configuration was made for"),
        ({"objective__learn_sigma": False}, "flow has no option 'learn_sigma'"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(
    make_plan, tmp_path, values, message
):
    with pytest.raises(DitbenchError, match=message) as raised:
        make_plan(out=tmp_path / "out", **values)
    assert raised.value.hint
    assert not (tmp_path / "out").exists()


def test_other_images_at_the_same_path_are_another_run(make_plan, tmp_path):
    path = tmp_path / "images"
    for label in range(10):
        (path / str(label)).mkdir(parents=True)
        for index in range(2):
            image = Image.new("L", (8, 8), label * 20 + index)
            image.save(path / str(label) / f"{index}.png")
    options = {"data__name": "folder", "data__path": str(path), "eval__samples": 20}
    first = make_plan(**options)
    execute(first)
    Image.new("L", (8, 8), 255).save(path / "0" / "0.png")
    second = make_plan(**options)
    assert first.directory.path != second.directory.path
    assert not second.directory.is_complete()


def test_runs_on_the_same_images_read_them_once(make_plan, tmp_path, monkeypatch):
    configs = [
        make_plan(block=block, seed=seed).config for block in block_names() for seed in (0, 1)
    ]
    load = Mock(return_value=load_digits())
    monkeypatch.setattr(plan_module, "load_dataset", load)
    plans = plan_module.plan_all(configs, tmp_path, torch.device("cpu"))
    assert [call.args[:2] for call in load.mock_calls] == [("digits", None)]
    assert [plan.config for plan in plans] == configs


def test_options_of_a_block_are_filled_in_and_fingerprinted(make_plan):
    """Its default is in the fingerprint, and is the same run as the same number given."""
    default = make_plan(block="adaln-lora")
    assert default.config.options == {"lora_rank": 4}  # a quarter of the hidden size
    assert "[options]\nlora_rank = 4\n" in default.config.to_toml()
    given = make_plan(block="adaln-lora", options={"lora_rank": 4})
    other = make_plan(block="adaln-lora", options={"lora_rank": 2})
    assert given.config.fingerprint == default.config.fingerprint
    assert other.config.fingerprint != default.config.fingerprint
    assert other.cost.parameters < default.cost.parameters
    model = build_model(other)
    assert model.blocks[0].lora_down.weight.shape == (2, 16)


def test_an_option_is_kept_where_it_belongs_and_refused_elsewhere(make_plan, tmp_path):
    """`--block all` passes an option to those that have it; the others stay the runs they were."""
    base = make_plan().config
    with_option = base.with_values(options={"lora_rank": 2})
    device = torch.device("cpu")
    plans = plan_all(
        [with_option.with_values(block=name) for name in ("adaln", "adaln-lora")], tmp_path, device
    )
    assert [run.config.options for run in plans] == [{}, {"lora_rank": 2}]
    assert plans[0].config.fingerprint == make_plan(block="adaln").config.fingerprint
    with pytest.raises(DitbenchError, match="adaln has no option 'lora_rank'") as caught:
        plan_all([with_option.with_values(block="adaln")], tmp_path, device)
    assert caught.value.hint == "leave it out: adaln-lora has it"


def test_sampling_settings_that_change_nothing_are_no_other_run(make_plan):
    """Digits have one channel, and pixels are clamped."""
    plain = make_plan()
    for same in ({"eval__clip": True}, {"eval__cfg_channels": 1}):
        assert make_plan(**same).config.fingerprint == plain.config.fingerprint
    assert plain.clip
    other = make_plan(eval__clip=False)
    assert not other.clip
    assert other.config.fingerprint != plain.config.fingerprint


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"eval__cfg_channels": 2}, "cfg_channels = 2 is more than the 1 channels"),
        ({"eval__variance": "large"}, "flow has no option 'variance'"),
        ({"eval__spacing": "stride"}, "flow has no option 'spacing'"),
        ({"objective__name": "ddpm", "eval__variance": "large"}, "do not learn the variance"),
        (
            {"objective__name": "ddpm", "eval__spacing": "stride", "eval__sampling_steps": 51},
            "no whole stride through 1000 timesteps takes 51 steps",
        ),
    ],
)
def test_sampling_settings_that_do_not_fit_are_refused(make_plan, values, message):
    with pytest.raises(DitbenchError, match=message):
        make_plan(**values)


def test_sampling_settings_reach_the_objective(make_plan):
    values = {"objective__learn_sigma": False, "eval__variance": "large", "eval__spacing": "stride"}
    objective = make_plan(objective__name="ddpm", **values).objective
    assert (objective.variance, objective.spacing) == ("large", "stride")
