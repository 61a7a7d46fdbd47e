import pytest

from ditbench.errors import DitbenchError
from ditbench.objectives import create_objective, objective_names
from ditbench.objectives.base import Objective


def test_every_name_creates_its_objective():
    assert objective_names() == ("ddpm", "flow")
    for name in objective_names():
        objective = create_objective(name)
        assert isinstance(objective, Objective)
        assert objective.name == name
        assert objective.samplers


def test_options_reach_the_objective():
    assert create_objective("ddpm").output_channels(4) == 8
    assert create_objective("ddpm", learn_sigma=False).output_channels(4) == 4
    assert create_objective("ddpm", timesteps=10).max_steps == 10
    assert create_objective("flow").output_channels(4) == 4


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(DitbenchError, match="dpm") as caught:
        create_objective("dpm")
    assert "ddpm" in caught.value.hint
    assert caught.value.exit_code == 2
