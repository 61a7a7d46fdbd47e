"""The interface of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch

from ditbench.errors import DitbenchError, unknown_name
from ditbench.objectives.guidance import Model, guided

if TYPE_CHECKING:
    from torch import Tensor


class Objective(ABC):
    """A loss to train a model with, and the samplers that turn the trained model into images.

    Images are (N, C, H, W) floats; pixels are in [-1, 1]. Nothing is ever drawn from torch's global
    stream: randomness comes from the generators and the noise that are passed in.
    """

    name: ClassVar[str]
    samplers: ClassVar[tuple[str, ...]]
    """The names of the samplers; the first is the default."""

    max_steps: int | None = None
    """The most steps that a sampler can take; None where there is no such limit."""

    @abstractmethod
    def output_channels(self, channels: int) -> int:
        """C_out, the channels that a model of images with `channels` channels has to give."""

    @abstractmethod
    def draw(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the random numbers of one batch's loss.

        Args:
            x: clean images (N, C, H, W).
            generator: the source of the times, then of the noise; usually on x's device.

        Returns:
            The objective's times (N,) and standard normal noise (N, C, H, W), on x's device.
        """

    @abstractmethod
    def loss_at(self, model: Model, x: Tensor, y: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The training loss of one batch at given times and noise; deterministic.

        Args:
            model: called once, on (x_t, model time, y).
            x: clean images (N, C, H, W), in [-1, 1].
            y: labels (N,), int64, after label dropout.
            t: times (N,), as `draw` returns them.
            noise: standard normal noise (N, C, H, W).

        Returns:
            The mean loss, a float32 scalar whatever the dtype of the model's output.

        Raises:
            ValueError: the model's output does not have the shape that the objective needs.
        """

    @abstractmethod
    def loss(self, out: Tensor, x: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The part of `loss_at` after the model's output.

        It computes on tensors alone and never branches on their values, so it compiles into one
        graph.

        Args:
            out: the model's output (N, C_out, H, W), of any floating-point dtype.
            x: clean images (N, C, H, W), float32.
            x_t: the noisy images (N, C, H, W) that the model received, float32.
            t: times (N,), as `draw` returns them.
            noise: the noise (N, C, H, W) in x_t.

        Returns:
            The mean loss, a float32 scalar.
        """

    def output(self, model: Model, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """What the model gives for x (N, C, H, W), in its own type.

        Raises:
            ValueError: its shape is not that of x with `output_channels` channels.
        """
        out = model(x, t, y)
        expected = (x.shape[0], self.output_channels(x.shape[1]), *x.shape[2:])
        if out.shape != expected:
            raise ValueError(
                f"the model gave {tuple(out.shape)} for x {tuple(x.shape)}, not {expected}"
            )
        return out

    def check_sampling(self, sampler: str | None, steps: int) -> str:
        """The sampler's name, the default for None, if it is known and can take so many steps.

        Raises:
            DitbenchError: `sampler` is unknown, or `steps` is out of range.
        """
        sampler = self.samplers[0] if sampler is None else sampler
        if sampler not in self.samplers:
            raise unknown_name(f"sampler of {self.name}", sampler, self.samplers)
        if steps < 1 or (self.max_steps is not None and steps > self.max_steps):
            allowed = "at least 1" if self.max_steps is None else f"from 1 to {self.max_steps}"
            raise DitbenchError(
                f"sampling_steps = {steps} is out of range for {self.name}",
                f"sampling_steps can be {allowed}",
            )
        return sampler

    @torch.no_grad()
    def sample(
        self,
        model: Model,
        noise: Tensor,
        y: Tensor,
        steps: int,
        cfg_scale: float = 1.0,
        *,
        null_class: int | None = None,
        sampler: str | None = None,
        generator: torch.Generator | None = None,
        clip: bool = True,
    ) -> Tensor:
        """Turn noise into images.

        Args:
            model: the network, on (x, model time, y).
            noise: standard normal noise (N, C, H, W), where every sampler starts.
            y: labels (N,), int64.
            steps: sampling steps; each is one evaluation of the model, two for `heun`.
            cfg_scale: guidance scale, see `guidance.guided`; 1 is no guidance.
            null_class: the label of "no label", needed for guidance.
            sampler: one of `samplers`; None is the first.
            generator: where the noise of a stochastic sampler comes from; others ignore it.
            clip: hold images to [-1, 1], as is right for pixels and wrong for latents.

        Returns:
            Images (N, C, H, W), float32.

        Raises:
            DitbenchError: `sampler` is unknown, or `steps` is out of range.
            ValueError: guidance without a null class, a stochastic sampler without a generator, or
                a model whose output does not have the shape that the objective needs.
        """
        sampler = self.check_sampling(sampler, steps)
        model = guided(model, cfg_scale, null_class, channels=noise.shape[1])
        return self._sample(model, noise.float(), y, steps, sampler, generator, clip=clip)

    @abstractmethod
    def _sample(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        steps: int,
        sampler: str,
        generator: torch.Generator | None,
        *,
        clip: bool,
    ) -> Tensor:
        """`sample`, its arguments checked and its model guided; x is the noise, in float32.

        It must not wait for the device within the loop: per-step numbers are Python's, and no
        tensor is read back.
        """


def draw_normal(x: Tensor, generator: torch.Generator) -> Tensor:
    """Float32 standard normal noise of x's shape, on x's device.

    It is drawn on the generator's device, so a CPU generator gives every device the same noise.
    """
    noise = torch.randn(x.shape, generator=generator, device=generator.device)
    # To CUDA the copy may overlap: the runtime has staged the source before the call returns.
    return noise.to(x.device, non_blocking=x.is_cuda)
