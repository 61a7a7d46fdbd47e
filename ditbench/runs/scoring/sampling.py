"""Sampling with the averaged weights: noise to images, by all processes of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from ditbench.config.sections import EvalConfig
from ditbench.data.dataset import NanSamples, quantised
from ditbench.models.dit import DiT
from ditbench.runs.planning.task import Task
from ditbench.seeds import Draws, PartOf, generator, normal_like
from ditbench.training.cpu import divides, each_half, half_of_the_cores
from ditbench.training.device.backlog import Backlog
from ditbench.training.device.graph import GraphPerShape
from ditbench.training.device.precision import bf16_weights, mixed_precision
from ditbench.training.device.repair import repaired
from ditbench.training.stop import StopRequest


@dataclass(frozen=True)
class Noise:
    """The noise of one draw of samples. It advances from batch to batch.

    `start` is what images start from, drawn on the CPU; `ancestral` is what an ancestral sampler
    adds, drawn on the device.
    """

    start: torch.Generator
    ancestral: torch.Generator

    @classmethod
    def of(cls, seed: int, device: torch.device, draw: int = 0) -> Noise:
        """The noise of a draw of a run, at its first batch."""
        number = (draw,) if draw else ()  # draw 0 is that of runs which had no other
        start = generator(seed, "eval", "noise", *number)
        return cls(start, generator(seed, "eval", "ancestral", *number, device=device))


def sample_images(
    model: DiT, task: Task, labels: Tensor, stop: StopRequest | None = None, draw: int = 0
) -> Tensor:
    """Draw one image per label: uint8 (M, C, H, W), on the CPU; see `sample_batches`.

    Latents stay as they are, float32: `decode_samples` decodes them batch by batch.
    """
    noise = Noise.of(task.config.seed, next(model.parameters()).device, draw)
    images, wrong = [], []
    for x in sample_batches(model, task, labels, noise, stop):
        wrong.append(x.isnan().any())  # read at the end: the noise of the next batch is drawn now
        images.append(quantised(x) if task.dataset.latents is None else x.float().cpu())
    if torch.stack(wrong).any():
        raise NanSamples
    return torch.cat(images).cpu()


def sample_batches(
    model: DiT, task: Task, labels: Tensor, noise: Noise, stop: StopRequest | None = None
) -> Iterator[Tensor]:
    """Draw one image per label, in batches of `eval.batch_size`: (N, C, H, W), on the device.

    Each process of the world samples whole batches, or parts of the last, and receives all.

    The noise that an image starts from depends on the seed of the run, the draw and the position in
    the list, and on `eval.batch_size` only where C*H*W is not a multiple of 16. The noise that an
    ancestral sampler adds depends on the device and on `eval.batch_size`, too. Both are the same
    for every block.

    Raises:
        Stopped: between two passes of the model, if a stop was requested.
        NanSamples: exit code 1, if samples contain NaN.
    """
    config, device = task.config.eval, next(model.parameters()).device
    stop = StopRequest() if stop is None else stop
    rounds = _rounds(labels.split(config.batch_size), task.world.size)
    with _network(model, task, device, stop) as network:

        def sample(start: Tensor, asked: Tensor, draws: Draws) -> Tensor:
            return task.objective.sample(
                network,
                start.to(device, non_blocking=True),
                asked.to(device, non_blocking=True),
                config.sampling_steps,
                config.cfg_scale,
                null_class=model.null_class,
                sampler=config.sampler,
                generator=draws,
                clip=task.clip,
                cfg_channels=config.cfg_channels,
            )

        stop.begin("sampling", len(rounds) * passes_per_image(config))
        for batches in rounds:
            yield from _sample_round(task, batches, noise, device, sample)


def _rounds(batches: Sequence[Tensor], processes: int) -> list[Sequence[Tensor]]:
    """The batches that are sampled at once: one by each process, and the last ones in parts."""
    whole = [batch for batch in batches if len(batch) == len(batches[0])]
    end = len(whole) // processes * processes
    at_once = [batches[i : i + processes] for i in range(0, end, processes)]
    return [*at_once, *([batch] for batch in batches[end:])]


def _sample_round(
    task: Task,
    batches: Sequence[Tensor],
    noise: Noise,
    device: torch.device,
    sample: Callable[[Tensor, Tensor, Draws], Tensor],
) -> Iterator[Tensor]:
    """The samples of a round's batches, in their order, on the device."""
    world, data, count = task.world, task.dataset, len(batches[0])
    shape = (count, data.channels, data.height, data.width)
    starts = [torch.randn(shape, generator=noise.start) for _ in batches]
    if len(batches) == 1:
        world = world.sharing(count)
        part = world.part(count)
        draws = PartOf(noise.ancestral, count, part)
        yield world.gather(sample(starts[0][part], batches[0][part], draws), count)
        return
    # A GPU computes a whole batch faster than its parts. What an ancestral sampler draws for the
    # batches of other processes is drawn as well.
    config = task.config.eval
    drawn = task.objective.noise_draws(config.sampler, config.sampling_steps)
    like = torch.empty(shape, device=device)
    for rank, (start, asked) in enumerate(zip(starts, batches, strict=True)):
        if rank == world.rank:
            x = sample(start, asked, noise.ancestral)
        else:
            for _ in range(drawn):
                normal_like(like, noise.ancestral)
    yield from world.gather(x, count * world.size).split(count)


def passes_per_image(config: EvalConfig) -> int:
    """How often the model is called to sample a batch."""
    return config.sampling_steps * (2 if config.sampler == "heun" else 1)


def time_sampling(model: DiT, task: Task, labels: Tensor, steps: int) -> float:
    """Seconds of sampling with so many steps. Moving samples to the CPU synchronizes."""
    started = time.perf_counter()
    config = task.config.with_values(eval__sampling_steps=steps)
    sample_images(model, replace(task, config=config), labels)
    return time.perf_counter() - started


@contextmanager
def _network(
    model: nn.Module, task: Task, device: torch.device, stop: StopRequest
) -> Iterator[Callable[..., Tensor]]:
    """The model for many passes, in the task's precision; a DiT on a GPU as CUDA graphs.

    After each pass a stop is checked; a GPU's queue stays short.
    """
    backlog, precision = Backlog(device), task.config.train.precision

    def call(*inputs: Tensor) -> Tensor:
        # The first pass compiles. Repeated by itself, as the processes of a world exchange samples.
        output = repaired(partial(network, *inputs))
        backlog.launched()
        stop.advance()
        return output

    graphs = device.type == "cuda" and isinstance(model, DiT)
    bf16 = bf16_weights(model) if graphs and precision != "fp32" else nullcontext()

    def in_halves(*inputs: Tensor) -> Tensor:
        def compute(*half: Tensor) -> Tensor:
            with mixed_precision(device, precision):  # each thread has its own
                return model(*half)

        with half_of_the_cores():
            return torch.cat(each_half(compute, inputs))

    whole = GraphPerShape(model) if graphs else model
    network = in_halves if divides(model, device) else whole
    with mixed_precision(device, precision), bf16:
        yield call
