"""What the file of an evaluation is called."""

import pytest

from ditbench.config import load
from ditbench.rundir import RunDirectory
from ditbench.runs.planning.rescoring import evaluation_name


@pytest.mark.parametrize(
    ("scale", "text"),
    [(1.0, "1"), (1.5, "1.5"), (0.0, "0"), (1.0000001, "1.0000001"), (1e-5, "1e-05"), (4, "4")],
)
def test_a_name_keeps_every_digit_of_the_guidance(make_plan, scale, text):
    config = make_plan(eval__cfg_scale=scale, eval__samples=50_000).config
    assert evaluation_name(config) == f"cfg{text}-euler2-50k-digits"


def test_the_name_holds_the_choices_of_the_released_code(make_plan):
    def name(**values):
        return evaluation_name(make_plan(objective__name="ddpm").config.with_values(**values))

    plain = name()
    released = {"eval__variance": "large", "eval__spacing": "stride"}
    every = name(eval__cfg_channels=3, eval__clip=False, **released)
    assert plain == "cfg1-ddpm2-40-digits"
    assert every == "cfg1-ddpm2-3channels-noclip-large-stride-40-digits"


def test_the_path_of_an_evaluation_is_its_name(tmp_path):
    directory = RunDirectory(tmp_path)
    name = "cfg1.5-ddim250-50k-inception"
    assert directory.eval(name).stem == name
    directory.config.touch()
    directory.write_eval(name, {"draws": []})
    assert directory.evals() == [name]


def test_without_an_autoencoder_or_other_real_images_neither_is_named():
    assert evaluation_name(load("digits")) == "cfg1-auto25-1k-digits"
