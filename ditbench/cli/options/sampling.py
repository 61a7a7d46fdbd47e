"""Options of `sample` and `eval`: how a model is sampled, and weights that are not of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ditbench.cli.options.common import Device, Trust, option, refuse
from ditbench.cli.options.completion import complete_assignments, complete_blocks
from ditbench.cli.options.parse import parse_blocks
from ditbench.errors import DitbenchError
from ditbench.models.sizes import parse_model

if TYPE_CHECKING:
    from ditbench.config import RunConfig

INIT = (
    "a .pt of the released code, a .safetensors, a folder of diffusers' DiTPipeline, or a run "
    "directory."
)


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """How a model is sampled; or weights in the place of a run, and what their shapes do not say.

    None where an option is not given.
    """

    # fmt: off
    sampler: Annotated[str | None, option("NAME",
        "euler or heun for flow, ddpm or ddim for ddpm. Default: as in the run.")] = None
    sampling_steps: Annotated[int | None, option("N",
        "Steps of the sampler. Default: as in the final score.", min=1)] = None
    vae: Annotated[Path | None, option("PATH",
        "The autoencoder that decodes latents. Default: as in the run.")] = None
    device: Device = "auto"
    trust: Trust = False
    init: Annotated[Path | None, option("FILE", f"Weights in place of RUN: {INIT}")] = None
    model: Annotated[str | None, option("SIZE",
        "With --init: XL/2, or 256x8x4/2. Default: from the shapes in the file.")] = None
    block: Annotated[str | None, option("NAME",
        "With --init: its block. Default: adaln-zero.", autocompletion=complete_blocks)] = None
    set_: Annotated[list[str] | None, option("KEY=VALUE",
        "With --init: any setting, such as objective.name=flow; repeatable.",
        "--set", autocompletion=complete_assignments)] = None
    # fmt: on

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of a run, see `RunConfig.with_values`."""
        return {
            "eval__sampler": self.sampler,
            "eval__sampling_steps": self.sampling_steps,
            "data__vae": self.vae,
        }

    def check(self, runs: object) -> bool:
        """Whether weights are given, and not runs; a DitbenchError for both or neither."""
        if bool(runs) == (self.init is not None):
            what = (
                "RUN and --init are given together" if runs else "neither RUN nor --init is given"
            )
            raise DitbenchError(what, "name a run directory, or weights: --init FILE")
        for name in ("model", "block", "set_"):
            if runs and getattr(self, name):
                flag = f"--{name.removesuffix('_')}"
                hint = f"leave {flag} out: a run has its own; --help lists what can be changed"
                raise DitbenchError(f"{flag} is given without --init", hint)
        if self.init is not None:
            refuse("--init", {"--trust": self.trust or None})
        return self.init is not None

    def configure(self, more: Mapping[str, Any]) -> RunConfig:
        """The configuration of the weights: sampled as in the paper, unless options say otherwise.

        `more` are dotted keys that override all others, where values are not None.
        """
        from ditbench.config import put, validate
        from ditbench.config.derive import safe_name
        from ditbench.config.load import parse_settings

        assert self.init is not None
        blocks = parse_blocks(self.block or "adaln-zero")
        if len(blocks) > 1:
            raise DitbenchError(f"--block {self.block} is {len(blocks)} blocks", "name one")
        given = parse_settings(self.set_ or ())
        size = {} if self.model is None else vars(parse_model(self.model))
        given |= {f"model.{name}": value for name, value in size.items()}
        given |= {key: value for key, value in more.items() if value is not None}
        table: dict[str, Any] = {"preset": safe_name(self.init.stem), "init": {"path": self.init}}
        put(table, {
            "block": blocks[0],
            "data.name": self.init.stem,
            "objective.name": given.get("objective.name", "ddpm"),
            "metrics.features": "auto",
            "budget.steps": 1,  # nothing is trained
            "train.batch_size": 1,
            "eval.points": 1,
            "eval.sampling_steps": 250,
            **of_file(self.init, given),
            **given,
        })  # fmt: skip
        return validate(table)


def of_file(path: Path, given: Mapping[str, Any], objective: str = "ddpm") -> dict[str, Any]:
    """The keys of the configuration that the shapes in a file of weights determine.

    `given` are dotted keys that override them; `objective` is the one that others override.
    """
    from ditbench.weights.recognise import recognise

    found = recognise(path)
    keys = found.settings(given)
    if given.get("objective.name", objective) == "ddpm" and not found.learn_sigma:
        keys["objective.learn_sigma"] = False
    return keys
