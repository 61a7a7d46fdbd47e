"""Augmentation against torchvision's functional operations, which do one image at a time."""

import math

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from augment import MAX_BLEND, Augmentation, augment, cut_mix, cut_out, random_maps, recolour, warp

NOTHING = Augmentation(shift=0, geometry=1.0, colour=1.0, magnitude=0.0, cutout=0)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (40, 3, 32, 32), generator=generator, dtype=torch.uint8)


@pytest.fixture
def draws():
    return torch.Generator().manual_seed(5)


def pixels(x):
    return (x + 1) * 127.5


def test_at_magnitude_zero_an_image_is_itself_or_its_mirror_image(images, draws):
    x = pixels(augment(images, NOTHING, draws))
    same = (x - images).abs().amax((1, 2, 3)) < 0.01
    mirrored = (x - images.flip(3)).abs().amax((1, 2, 3)) < 0.01
    assert (same ^ mirrored).all()
    assert 10 < same.sum() < 30


def test_shifts_are_whole_pixels_of_all_sizes_and_mirror_the_edge(images, draws):
    maps = random_maps(4000, 32, Augmentation(shift=4, geometry=0.0), draws)
    moved = maps[:, :, 2] * 16
    assert torch.allclose(moved, moved.round(), atol=1e-5)
    counts = torch.bincount((moved[:, 0].round() + 4).long())
    assert len(counts) == 9
    assert counts.min() > 350
    theta = torch.tensor([[1.0, 0, 3 / 16], [0, 1, -2 / 16]]).expand(40, 2, 3)
    x = warp(images.float(), theta)
    assert torch.allclose(x[:, :, 2:, :-3], images[:, :, :-2, 3:].float(), atol=0.02)
    assert torch.allclose(x[:, :, :2, :-3], images[:, :, :2, 3:].flip(2).float(), atol=0.02)


@pytest.mark.parametrize("angle", [-20.0, 7.0])
def test_warp_is_torchvisions_rotation(images, angle):
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    theta = torch.tensor([[cos, sin, 0.0], [-sin, cos, 0.0]]).expand(40, 2, 3)
    expected = tv.affine(
        images.float(), angle, [0, 0], 1.0, [0.0, 0.0], tv.InterpolationMode.BILINEAR
    )
    inner = (..., slice(10, 22), slice(10, 22))  # outside, torchvision fills with black
    assert torch.allclose(warp(images.float(), theta)[inner], expected[inner], atol=0.05)


ORACLES = {0: tv.adjust_brightness, 1: tv.adjust_contrast, 2: tv.adjust_saturation}


@pytest.mark.parametrize("kind", ORACLES)
@pytest.mark.parametrize("strength", [-1.0, -0.4, 0.3, 1.0])
def test_colours_are_torchvisions(images, kind, strength):
    found = recolour(images.float(), torch.full((40,), kind), torch.full((40,), strength))
    expected = ORACLES[kind](images.float() / 255, 1 + MAX_BLEND * strength) * 255
    assert (found - expected).abs().max() < 0.1  # grey weighs blue 0.1140 here, 0.114 there


def test_solarising_and_posterising(images):
    x = images.float()
    solarised = recolour(x, torch.full((40,), 4), torch.full((40,), -0.5))
    assert torch.equal(solarised, tv.solarize(images, 128).float())
    posterised = recolour(x, torch.full((40,), 5), torch.full((40,), 0.5))
    assert torch.equal(posterised, tv.posterize(images, 5).float())


def test_cutout_greys_a_square_that_may_leave_the_image(draws):
    x = torch.ones(2000, 3, 32, 32)
    area = (cut_out(x, 8, draws)[:, 0] == 0).sum((1, 2))
    assert area.max() == 64
    assert 16 <= area.min() <= 20  # in a corner
    assert 50 < area.float().mean() < 62
    assert cut_out(x, 0, draws) is x


def test_cutmix_mixes_targets_as_pixels(draws):
    labels = torch.arange(200)
    x = labels.float().view(-1, 1, 1, 1).expand(200, 3, 32, 32)
    targets = torch.eye(200)
    mixed, soft = cut_mix(x, targets, 0.5, draws)
    other = labels.roll(1).view(-1, 1, 1)
    pasted = (mixed[:, 0] == other).float().mean((1, 2))
    assert torch.allclose(soft.sum(1), torch.ones(200))
    assert torch.allclose(soft[labels, labels.roll(1)], pasted, atol=1e-6)
    assert torch.allclose(soft[labels, labels], 1 - pasted, atol=1e-6)
    assert 70 < (pasted > 0).sum() < 130
    assert torch.equal(cut_mix(x, targets, 0.0, draws)[0], x)


def test_the_generator_alone_decides(images):
    first, second = (
        augment(images, Augmentation(), torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, augment(images, Augmentation(), torch.Generator().manual_seed(2)))
    assert first.min() >= -1 - 1e-4
    assert first.max() <= 1 + 1e-4
