"""What a file of weights is of: size, input, classes and learned variance, from its shapes."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ditbench.errors import DitbenchError
from ditbench.models.sizes import SIZES, ModelSize
from ditbench.weights.fit import CLASSES, POSITIONS, Shapes, shapes_of
from ditbench.weights.names import depth_of
from ditbench.weights.read import find_weights, read_weights

_NEEDED = ("x_embedder.proj.weight", "blocks.0.mlp.fc1.weight", "final_layer.linear.weight")


@dataclass(frozen=True)
class Recognised:
    """The model that weights are of."""

    hidden_size: int
    depth: int
    num_heads: int | None  # None where neither the paper's sizes nor a file beside it has them
    patch_size: int
    mlp_ratio: float  # inner width of the MLP over D
    channels: int  # of the input
    outputs: int  # channels of the output
    embeddings: int  # of classes, with the null class where there is one; 0 without classes
    side: int | None  # of the square input, or None without positions

    def settings(self, given: Container[str] = ()) -> dict[str, Any]:
        """The keys of `[model]`, all known except for those `given` by dotted name."""
        if self.num_heads is None and "model.num_heads" not in given:
            raise DitbenchError(
                f"no shape shows the number of attention heads of {self.name}",
                f"give it: --model {self.hidden_size}x{self.depth}xHEADS/{self.patch_size}",
            )
        names = ("hidden_size", "depth", "num_heads", "patch_size", "mlp_ratio")
        return {f"model.{name}": getattr(self, name) for name in names}

    @property
    def learn_sigma(self) -> bool:
        """Whether the variances are learned: the model has two outputs per channel."""
        return self.outputs == 2 * self.channels

    @property
    def name(self) -> str:
        """`XL/2 on 32x32x4, 1001 embeddings of classes`."""
        heads = self.num_heads or 0
        size = ModelSize(self.hidden_size, self.depth, heads, self.patch_size).name
        size = size.replace("x0/", "x?/")
        where = "" if self.side is None else f" on {self.side}x{self.side}x{self.channels}"
        return f"{size}{where}, {self.outputs} channels out, {self.embeddings} class embeddings"


def recognise(path: Path) -> Recognised:
    """What the weights at a path are of; a DitbenchError if not of a DiT. Only shapes are read."""
    shapes = shapes_of(read_weights(path, "meta"))
    for name in _NEEDED:
        if name not in shapes or not all(shapes[name]):
            names = ", ".join(list(shapes)[:3])
            raise DitbenchError(
                f"{path} is not a DiT: it has no {name}; its weights are {names}, ...",
                "name the weights of a DiT, with the names of the released code or of diffusers",
            )
    patches = shapes["x_embedder.proj.weight"]
    inner, outputs = shapes["blocks.0.mlp.fc1.weight"], shapes["final_layer.linear.weight"]
    if len(patches) != 4 or len(inner) != 2:
        raise DitbenchError(f"{path} is not a DiT: its x_embedder.proj.weight is {patches}")
    D, C, P, _ = patches
    depth = depth_of(shapes)
    return Recognised(
        hidden_size=D,
        depth=depth,
        num_heads=_heads(find_weights(path), D, depth),
        patch_size=P,
        mlp_ratio=inner[0] / D,
        channels=C,
        outputs=outputs[0] // (P * P),
        embeddings=shapes.get(CLASSES, (0,))[0],
        side=_side(shapes, path, P),
    )


def _side(shapes: Shapes, path: Path, patch_size: int) -> int | None:
    """The side of the square input, from the positions or from diffusers' configuration."""
    if POSITIONS in shapes:
        return math.isqrt(shapes[POSITIONS][1]) * patch_size
    side = _config(find_weights(path)).get("sample_size")
    return side if type(side) is int else None


def _heads(file: Path, hidden_size: int, depth: int) -> int | None:
    """The number of attention heads, which no shape shows."""
    heads = _config(file).get("num_attention_heads")
    with suppress(OSError, ValueError, KeyError, TypeError):  # a checkpoint of a run
        config = tomllib.loads((file.parent.parent / "config.toml").read_text("utf-8"))
        heads = config["model"]["num_heads"]
    if type(heads) is int and heads > 0:
        return heads
    return next((h for D, L, h in SIZES.values() if (hidden_size, depth) == (D, L)), None)


def _config(file: Path) -> dict[str, object]:
    """The config.json of diffusers beside a file of weights; empty if there is none."""
    with suppress(OSError, ValueError):
        found = json.loads(file.with_name("config.json").read_text("utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
