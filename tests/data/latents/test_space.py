import pytest
import torch

from ditbench.data.latents.space import LatentSpace
from ditbench.errors import DitbenchError

SD = LatentSpace("sd", "ab", 256, 0.18215)
EACH = LatentSpace("va", "", 256, 2.0, 0.25, 16, "mean", (1.0, -1.0), (2.0, 4.0))


@pytest.mark.parametrize("space", [SD, LatentSpace("sd3", "", 64, 1.5, 0.06), EACH])
def test_the_range_of_the_model_and_back(space):
    z = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(space.from_model(space.to_model(z)), z)


def test_scale_shift_and_statistics_per_channel():
    z = torch.tensor([5.0, 3.0]).view(1, 2, 1, 1)
    assert EACH.to_model(z.half()).flatten().tolist() == [(4 / 2 - 0.25) * 2, (4 / 4 - 0.25) * 2]
    assert torch.equal(SD.to_model(z), z * 0.18215)


def test_latents_that_are_scaled_already_are_not_scaled_again():
    scaled = LatentSpace("sd", "", 256, 0.18215, scaled=True)
    x = torch.ones(1, 4, 2, 2)
    assert torch.equal(scaled.to_model(x), x)
    torch.testing.assert_close(scaled.from_model(x), x / 0.18215)


def test_moments_give_their_mean_or_a_draw():
    space = LatentSpace("sd", "", 256, 2.0, kind="moments")
    stored = torch.cat([torch.full((1, 4, 2, 2), 3.0), torch.full((1, 4, 2, 2), 0.5)], 1).half()
    noise = torch.full((1, 4, 2, 2), -1.0)
    assert space.to_model(stored).unique().tolist() == [6.0]
    assert space.to_model(stored, noise).unique().tolist() == [5.0]


@pytest.mark.parametrize("space", [SD, EACH])
def test_facts_are_read_back(space):
    assert LatentSpace.from_facts(space.facts(), "file") == space


@pytest.mark.parametrize(
    "damage",
    [
        {"scaling_factor": 0},
        {"scaling_factor": "0.18"},
        {"scaling_factor": float("nan")},
        {"kind": "median"},
        {"image_size": True},
        {"mean": [1.0]},
        {"mean": [1.0], "std": [0]},
        {"mean": ["a"], "std": [1]},
        {"std": 3, "mean": 4},
        {"vae": None},
    ],
)
def test_damaged_facts_are_one_line(damage):
    with pytest.raises(DitbenchError, match=r"index\.json does not describe latents properly"):
        LatentSpace.from_facts({**SD.facts(), **damage}, "index.json")


@pytest.mark.parametrize("facts", [None, [], {}])
def test_facts_that_are_missing(facts):
    with pytest.raises(DitbenchError, match="does not describe"):
        LatentSpace.from_facts(facts, "index.json")
