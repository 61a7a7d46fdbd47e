"""The peer `diffusers`: its DiTTransformer2DModel, an adaLN-Zero DiT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffusers
from diffusers import DiTTransformer2DModel
from torch import Tensor, nn

from ditbench.bench.adapters import Candidate
from ditbench.bench.plain_trainer import PlainTrainer
from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from ditbench.runs.plan import Plan

# Fixed in the transformer block of diffusers.
MLP_RATIO = 4.0


class DiffusersDiT(nn.Module):
    """The DiT of diffusers with the arguments of our `DiT.forward`.

    Every block has embedders of its own: it has more parameters than the model of the paper, which
    computes the same function. In training mode each block drops a tenth of the labels itself.

    Args:
        plan: gives images, objective and size.
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
        out: Tensor = self.transformer(x, timestep=t, class_labels=y).sample
        return out


class DiffusersPeer:
    """Builds candidates from the model of diffusers and a plain training step.

    Args:
        compiled: whether torch compiles the model.
    """

    implementation = f"diffusers {diffusers.__version__}"

    def __init__(self, *, compiled: bool) -> None:
        self.compiled = compiled

    def check(self, plan: Plan) -> None:
        """Check that diffusers has the model of a plan.

        Raises:
            DitbenchError: images that are not square, another width of the MLP, or a setting that
                differs from the paper.
        """
        if plan.dataset.height != plan.dataset.width:
            raise DitbenchError(
                f"the DiT of diffusers takes square images, not {plan.cost.input}",
                "omit --peer, or choose a square --input",
            )
        if plan.config.model.mlp_ratio != MLP_RATIO:
            raise DitbenchError(
                f"the DiT of diffusers has no model.mlp_ratio = {plan.config.model.mlp_ratio:g}",
                f"omit --peer, or pass --set model.mlp_ratio={MLP_RATIO:g}",
            )
        for name, value in plan.config.model.switches.items():
            if value != type(plan.config.model).model_fields[name].default:
                raise DitbenchError(
                    f"the DiT of diffusers has no model.{name}", f"omit --peer, or model.{name}"
                )

    def build(self, plan: Plan) -> Candidate:
        """The model of a plan, in training."""
        model = DiffusersDiT(plan).to(plan.device).train()
        trainer = PlainTrainer(model, plan)
        if self.compiled:
            trainer.compile()
        parameters = sum(weight.numel() for weight in trainer.weights)
        backend = "compile" if self.compiled else "plain"
        return Candidate(trainer.update, trainer.average, parameters, backend)


EAGER = DiffusersPeer(compiled=False)
COMPILED = DiffusersPeer(compiled=True)
