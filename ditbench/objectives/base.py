"""The interface of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ditbench.errors import DitbenchError, unknown_name
from ditbench.objectives.guidance import Model, guided
from ditbench.seeds import Draws

# A guided model with fixed labels: `denoise(x, t)` is its output, float32, at one model time t.
Denoise = Callable[[Tensor, float], Tensor]


class Objective(ABC):
    """A loss to train a model with, and the samplers that turn the trained model into images.

    Images are (N, C, H, W) floats; pixels are in [-1, 1]. All random numbers come from the
    generators and the noise that are passed in, never from torch's global stream.
    """

    name: ClassVar[str]
    samplers: ClassVar[tuple[str, ...]]  # their names; the first is the default
    max_steps: int | None = None  # the most steps that a sampler can take; None means no limit

    @abstractmethod
    def output_channels(self, channels: int) -> int:
        """C_out, the channels of a model's output for images with `channels` channels."""

    @abstractmethod
    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw times (N,), then standard normal noise (N, C, H, W), for images x, on x's device."""

    @abstractmethod
    def loss_at(self, model: Model, x: Tensor, y: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The mean loss of one batch at given times and noise, a float32 scalar; deterministic.

        The model is called once, on (x_t, model time, y). Clean images x (N, C, H, W) are in
        [-1, 1], labels y (N,) are int64, after label dropout; `draw` returns t and the noise. A
        ValueError if the model's output has another shape than the objective needs.
        """

    @abstractmethod
    def loss(self, out: Tensor, x: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The part of `loss_at` after the model's output `out` (N, C_out, H, W), of any dtype.

        x and the noisy images x_t that the model received are float32. It uses tensor operations
        alone and never branches on values, so it compiles to one graph.
        """

    def output(self, model: Model, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The model's output, in its dtype; ValueError if it has not `output_channels` channels."""
        out = model(x, t, y)
        expected = (x.shape[0], self.output_channels(x.shape[1]), *x.shape[2:])
        if out.shape != expected:
            raise ValueError(
                f"the model returned {tuple(out.shape)} for x {tuple(x.shape)}, not {expected}"
            )
        return out

    def check_sampling(self, sampler: str | None, steps: int) -> str:
        """The sampler's name, the default's if None or `auto`; checks it and the steps."""
        sampler = self.samplers[0] if sampler in (None, "auto") else sampler
        if sampler not in self.samplers:
            raise unknown_name(f"sampler of {self.name}", sampler, self.samplers)
        if steps < 1 or (self.max_steps is not None and steps > self.max_steps):
            allowed = "at least 1" if self.max_steps is None else f"from 1 to {self.max_steps}"
            what = f"sampling_steps = {steps} is out of range for {self.name}"
            raise DitbenchError(what, f"sampling_steps can be {allowed}")
        return sampler

    def noise_draws(self, sampler: str, steps: int) -> int:  # noqa: ARG002
        """How many times `sample` draws noise of the images' shape from its generator."""
        return 0

    @torch.no_grad()
    def sample(
        self,
        model: Model,  # the network, on (x, model time, y)
        noise: Tensor,  # standard normal (N, C, H, W), the start of every sampler
        y: Tensor,  # labels (N,), int64
        steps: int,  # each is one evaluation of the model, two for `heun`
        cfg_scale: float = 1.0,  # guidance scale, see `guidance.guided`; 1 is no guidance
        *,
        null_class: int | None = None,  # the label for "no label", required for guidance
        sampler: str | None = None,  # one of `samplers`; None is the first
        generator: Draws | None = None,  # of a stochastic sampler's noise; others ignore it
        clip: bool = True,  # clamp images to [-1, 1]: right for pixels, wrong for latents
        cfg_channels: int | None = None,  # guide the first so many channels; None is all of them
    ) -> Tensor:
        """Turn noise into images (N, C, H, W), float32.

        A DitbenchError for an unknown sampler or steps out of range; a ValueError for guidance
        without a null class, or a stochastic sampler without a generator.
        """
        sampler = self.check_sampling(sampler, steps)
        model = guided(model, cfg_scale, null_class, cfg_channels or noise.shape[1])

        def denoise(x: Tensor, t: float) -> Tensor:
            times = torch.full((x.shape[0],), t, device=x.device)  # int64 or float32, as t is
            return self.output(model, x, times, y).float()

        return self._sample(denoise, noise.float(), steps, sampler, generator, clip=clip)

    @abstractmethod
    def _sample(
        self, denoise: Denoise, x: Tensor, steps: int, by: str, rng: Draws | None, *, clip: bool
    ) -> Tensor:
        """`sample` by the sampler `by`; x is the noise, float32, rng the generator."""
