"""What the tests of this folder draw: always the same, and nothing from torch's global stream."""

import torch


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed))


def pixels(*shape):
    """8-bit images in [-1, 1], black and white pixels among them."""
    levels = torch.randint(256, shape, generator=seeded(7))
    levels[..., 0, 0], levels[..., 0, 1] = 0, 255
    return levels / 255 * 2 - 1


def loss_of(objective, model, x, y, generator=None):
    """The loss of one batch, its times and noise drawn from a generator."""
    return objective.loss_at(model, x, y, *objective.draw(x, generator or seeded()))
