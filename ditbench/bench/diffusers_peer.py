"""The peer `diffusers`: its DiTTransformer2DModel, an adaLN-Zero DiT, trained plainly."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import diffusers
import torch
from diffusers import DiTTransformer2DModel
from torch import Tensor, nn

from ditbench.bench.adapters import Adapter, Candidate
from ditbench.data.dataset import to_model
from ditbench.errors import DitbenchError
from ditbench.runs.planning.plan import Plan
from ditbench.seeds import generator

EMA_DECAY = 0.9999


class DiffusersDiT(nn.Module):
    """The DiT of diffusers with the arguments of our `DiT.forward`.

    Every block has embedders of its own: it has more parameters than the model of the paper, which
    computes the same function. In training mode each block drops a tenth of the labels itself.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        size, dataset = plan.config.model.size, plan.dataset
        self.null_class = dataset.num_classes
        model: Any = DiTTransformer2DModel  # its annotations are incomplete
        self.transformer = model(
            num_attention_heads=size.num_heads,
            attention_head_dim=size.hidden_size // size.num_heads,
            in_channels=dataset.channels,
            out_channels=plan.objective.output_channels(dataset.channels),
            num_layers=size.depth,
            attention_bias=True,
            sample_size=dataset.height,
            patch_size=size.patch_size,
            activation_fn="gelu-approximate",
            num_embeds_ada_norm=dataset.num_classes,
            norm_type="ada_norm_zero",
            norm_elementwise_affine=False,
        )

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Images (N, C, H, W), timesteps (N,) in 0..999, labels (N,) -> (N, C_out, H, W)."""
        return self.transformer(x, timestep=t, class_labels=y).sample


class PlainTrainer:
    """Batch, autocast, loss, gradient, fused AdamW, and an EMA in one call for all weights.

    `average` is the model with the EMA weights. As in our training, the images stay on the device.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        self.model, self.plan = model, plan
        self.average = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
        self.weights: list[Tensor] = list(model.parameters())
        self.averages: list[Tensor] = list(self.average.parameters())
        train = plan.config.train
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=train.lr, weight_decay=train.weight_decay, fused=True
        )
        self.images = plan.dataset.images.to(plan.device)
        self.labels = plan.dataset.labels.to(plan.device)
        self.draws = generator(plan.config.seed, "bench", "peer", device=plan.device)

    def update(self) -> None:
        """Make one training step, without synchronizing."""
        device, train, objective = self.plan.device, self.plan.config.train, self.plan.objective
        shape = (train.batch_size,)
        index = torch.randint(len(self.images), shape, generator=self.draws, device=device)
        x, y = to_model(self.images[index]), self.labels[index]
        with torch.autocast(device.type, torch.bfloat16, enabled=train.precision != "fp32"):
            t, noise = objective.draw(x, self.draws)
            loss = objective.loss_at(self.model, x, y, t, noise)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.weights, 1 - EMA_DECAY)


def check(plan: Plan) -> None:
    """Refuse a plan whose model diffusers does not have."""
    model = plan.config.model
    if plan.dataset.height != plan.dataset.width:
        what = f"the DiT of diffusers takes square images, not {plan.cost.input}"
        raise DitbenchError(what, "omit --peer, or choose a square --input")
    for name, value in {"mlp_ratio": model.mlp_ratio, **model.switches}.items():
        if value != type(model).model_fields[name].default:
            what = f"the DiT of diffusers has no model.{name} = {value}"
            raise DitbenchError(what, f"omit --peer, or leave out model.{name}")


def build(plan: Plan, *, compiled: bool = False) -> Candidate:
    """The model of a plan, in training; it is compiled when it is first called."""
    model = DiffusersDiT(plan).to(plan.device).train()
    trainer = PlainTrainer(model, plan)
    if compiled:
        model.compile()
        trainer.average.compile()
    parameters = sum(weight.numel() for weight in trainer.weights)
    return Candidate(trainer.update, trainer.average, parameters)


EAGER = Adapter(f"diffusers {diffusers.__version__}", build, lambda _plan: "plain", check)
COMPILED = replace(EAGER, build=partial(build, compiled=True), backend=lambda _plan: "compile")
