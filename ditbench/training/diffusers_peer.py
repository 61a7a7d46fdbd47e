"""The peer `diffusers`: its DiTTransformer2DModel, which is an adaLN-Zero DiT, in our place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffusers
from diffusers import DiTTransformer2DModel
from torch import Tensor, nn

from ditbench.errors import DitbenchError
from ditbench.training.contender import Contender
from ditbench.training.plain import PlainTrainer

if TYPE_CHECKING:
    from ditbench.training.plan import Plan

# What diffusers' transformer block does not let its user choose.
MLP_RATIO = 4.0


class DiffusersDiT(nn.Module):
    """diffusers' DiT, called as ours is.

    In training mode it drops labels itself, a tenth of them and in each block anew, for every block
    has embedders of its own: more parameters than the paper's model, with the same function.

    Args:
        plan: whose images, objective and size it is made for.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        size, dataset = plan.config.model.size, plan.dataset
        self.null_class = dataset.num_classes
        model: Any = DiTTransformer2DModel  # its types are not those that a type checker takes
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
        """Images (N, C, H, W), times (N,) in 0..999 and labels (N,) to (N, C_out, H, W)."""
        out: Tensor = self.transformer(x, timestep=t, class_labels=y).sample
        return out


class DiffusersPeer:
    """Makes contenders of diffusers' model and a plain training step.

    Args:
        compiled: whether torch compiles the model.
    """

    def __init__(self, *, compiled: bool) -> None:
        self.compiled = compiled

    @property
    def implementation(self) -> str:
        """The package."""
        return f"diffusers {diffusers.__version__}"

    def check(self, plan: Plan) -> None:
        """Refuse what diffusers' model cannot be.

        Raises:
            DitbenchError: images that are not square, another width of the MLP, or a switch.
        """
        if plan.dataset.height != plan.dataset.width:
            raise DitbenchError(
                f"diffusers' DiT takes square images, not {plan.cost.input}",
                "leave out --peer, or choose a square --input",
            )
        if plan.config.model.mlp_ratio != MLP_RATIO:
            raise DitbenchError(
                f"diffusers' DiT has no model.mlp_ratio = {plan.config.model.mlp_ratio:g}",
                f"leave out --peer, or --set model.mlp_ratio={MLP_RATIO:g}",
            )
        for name, value in plan.config.model.switches.items():
            if value != type(plan.config.model).model_fields[name].default:
                raise DitbenchError(
                    f"diffusers' DiT has no model.{name}", f"leave out --peer, or model.{name}"
                )

    def build(self, plan: Plan) -> Contender:
        """The model of a plan, in training."""
        model = DiffusersDiT(plan).to(plan.device).train()
        trainer = PlainTrainer(model, plan)
        if self.compiled:
            trainer.compile()
        parameters = sum(weight.numel() for weight in trainer.weights)
        return Contender(trainer.update, trainer.average, parameters, self.compiled)


EAGER = DiffusersPeer(compiled=False)
COMPILED = DiffusersPeer(compiled=True)
