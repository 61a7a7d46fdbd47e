"""Folders of safetensors shards: those of `ditbench encode`, and those of LightningDiT.

A shard holds `latents` (n, C, h, w), optionally `latents_flip`, those of the mirrored images, and
`labels` (n,). `latents.json` beside the shards says what `ditbench encode` put into them. The page
docs/latents.md describes the format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ditbench.data.class_names import natural
from ditbench.data.io.files import POINTER, is_pointer, reason, shown
from ditbench.data.latents import SAMPLE
from ditbench.data.latents.found import Found, check_shape
from ditbench.data.latents.rows import FileRows, Piece
from ditbench.data.latents.space import LatentSpace, side_of
from ditbench.data.pictures.settings import Settings
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import read_json

INDEX = "latents.json"
FORMAT, VERSION = "ditbench latents", 1
STATISTICS = "latents_stats.pt"  # of LightningDiT: mean and std per channel
PLAIN, FLIPPED, LABELS = "latents", "latents_flip", "labels"
DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
EXPECTED = "expected latents (n, C, h, w) in float16, bfloat16 or float32, and labels (n,)"


@dataclass(frozen=True)
class Shard:
    """What the header of a shard says."""

    name: str
    count: int
    shape: tuple[int, ...]  # of a row
    dtype: torch.dtype
    offsets: dict[str, int]  # of `latents`, `labels` and, if it is there, `latents_flip`, in bytes
    metadata: dict[str, str]


def read_shard(folder: Path, name: str) -> Shard:
    """The header of a shard. Raises a DitbenchError (exit code 1) if it is damaged."""
    path = folder / name
    length, header = _header(path)
    metadata = header.pop("__metadata__", {})
    if not {PLAIN, LABELS} <= header.keys():
        found = ", ".join(sorted(header)[:3]) or "nothing"
        more = ", ..." * (len(header) > 3)
        raise DitbenchError(f"{shown(path)} holds {shown(found)}{more}", EXPECTED)
    entries = {key: header[key] for key in (PLAIN, FLIPPED, LABELS) if key in header}
    kinds = {key: (each["dtype"], tuple(each["shape"])) for key, each in entries.items()}
    dtype, shape = kinds[PLAIN]
    check_shape(f"{shown(path)}: {PLAIN}", shape, EXPECTED)
    if dtype not in DTYPES or kinds.get(FLIPPED, kinds[PLAIN]) != kinds[PLAIN]:
        listed = ", ".join(f"{key} {kind} {sides}" for key, (kind, sides) in kinds.items())
        raise DitbenchError(f"{shown(path)} holds {listed}", EXPECTED)
    kind, count = kinds[LABELS]
    if count != shape[:1] or kind[0] not in "IU":
        what = f"{shown(path)}: {LABELS} are {kind} {count}"
        raise DitbenchError(what, f"expected integers {shape[:1]}")
    offsets = {key: 8 + length + each["data_offsets"][0] for key, each in entries.items()}
    return Shard(name, shape[0], shape[1:], DTYPES[dtype], offsets, metadata)


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """The number of bytes of a safetensors file's header, and the header."""
    try:
        # safetensors checks the file, but does not say where a tensor begins.
        with safe_open(path, framework="pt"), path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return length, json.loads(file.read(length))
    except (OSError, SafetensorError, ValueError) as error:
        if path.is_file() and is_pointer(path):
            raise DitbenchError(f"{shown(path)}: {POINTER[0]}", POINTER[1], EXIT_FAILED) from error
        raise DitbenchError(
            f"{shown(path)} is not a complete safetensors file: {reason(error)}",
            "restore it, or remove it and run ditbench encode again",
            EXIT_FAILED,
        ) from error


def open_shards(path: Path, settings: Settings) -> Found:
    """The latents of a folder of shards. Raises a DitbenchError if there are none, they do not
    belong together, one is damaged (exit code 1), or settings lack what files do not say.
    """
    index = read_index(path)
    if index is not None:
        return found_of(path, index, _space_of_index(path, index, settings))
    names = sorted((each.name for each in path.glob("*.safetensors")), key=natural)
    if not names:
        raise DitbenchError(f"{shown(path)} holds no shards of latents", EXPECTED)
    first = read_shard(path, names[0])
    if FORMAT in first.metadata:
        what = f"the latents in {shown(path)} are not complete: there is no {INDEX}"
        raise DitbenchError(what, "repeat the command `ditbench encode` that made them: it resumes")
    return found_of(path, {"shards": names}, _space_of_lightning_dit(path, first, settings))


def found_of(path: Path, index: Mapping[str, Any], space: LatentSpace) -> Found:
    """The latents of the shards that an index lists, or a DitbenchError if of several kinds."""
    names: list[str] = index["shards"]
    shards = [read_shard(path, name) for name in names]
    first = shards[0]
    for each in shards:
        if describe(each) != describe(first):
            raise DitbenchError(
                f"{shown(path / each.name)} holds {describe(each)}, but {first.name} holds "
                f"{describe(first)}",
                "keep shards of one kind in a folder",
            )
    flipped = FLIPPED in first.offsets
    keys = (PLAIN, FLIPPED)[: 1 + flipped]
    pieces = [Piece(each.name, each.offsets[key], each.count) for key in keys for each in shards]
    return Found(
        path,
        FileRows(path, pieces, first.shape, first.dtype),
        partial(_labels, path, names),
        space,
        flipped,
        class_names=index.get("class_names", ()),
        files=names,
        notes=tuple(index.get("notes", ())),
        content=index.get("content"),
    )


def describe(shard: Shard) -> str:
    """The kind of a shard, in words."""
    dtype = str(shard.dtype).removeprefix("torch.")
    mirrored = " with mirrored copies" * (FLIPPED in shard.offsets)
    return f"{'x'.join(map(str, shard.shape))} {dtype} latents{mirrored}"


def read_index(path: Path) -> dict[str, Any] | None:
    """The index of `ditbench encode`; None without one. Raises a DitbenchError if damaged."""
    if not (path / INDEX).is_file():
        return None
    index = read_json(path / INDEX, "run ditbench encode again")
    if index.get("format") != FORMAT or index.get("version") != VERSION:
        what = f"{shown(path / INDEX)} is not of format '{FORMAT}', version {VERSION}"
        raise DitbenchError(what, "update ditbench, or run ditbench encode again")
    texts = (index.get("shards"), index.get("class_names"), index.get("notes"))
    whole = all(isinstance(e, list) and all(isinstance(t, str) for t in e) for e in texts)
    names = index["shards"] if whole else []
    inside = all(Path(name).name == name for name in names)
    if not (whole and inside and index["class_names"] and isinstance(index.get("content"), str)):
        raise DitbenchError(f"{shown(path / INDEX)} is damaged", "run ditbench encode again")
    return index


def _space_of_index(path: Path, index: dict[str, Any], settings: Settings) -> LatentSpace:
    space = LatentSpace.from_facts(index.get("space"), shown(path / INDEX))
    side_of(settings, space.image_size, shown(path))
    return replace(space, scaling_factor=settings.scaling_factor or space.scaling_factor)


def _space_of_lightning_dit(path: Path, shard: Shard, settings: Settings) -> LatentSpace:
    """LightningDiT writes one draw of each posterior, not scaled, and does not say the rest."""
    file = path / STATISTICS
    known = _statistics(file, shard.shape[0]) if file.is_file() else {}
    return LatentSpace.of_settings(settings, shard.shape, shown(path), kind=SAMPLE, **known)


def _statistics(path: Path, channels: int) -> dict[str, Any]:
    """Mean and std per channel, in the place of a factor; nothing in the file is executed."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        means, stds = (tuple(found[name].flatten().tolist()) for name in ("mean", "std"))
    except Exception as error:  # a damaged file raises anything
        why = reason(error).partition(". ")[0]  # advice follows
        what = f"{shown(path)} is not a file of mean and std: {why}"
        raise DitbenchError(what, "restore it", EXIT_FAILED) from error
    if not len(means) == len(stds) == channels:
        what = f"{shown(path)} is of {len(means)} channels, the latents have {channels}"
        raise DitbenchError(what, "put the statistics of these latents there")
    return {"mean": means, "std": stds, "scaling_factor": 1.0}


def _labels(path: Path, names: list[str]) -> Tensor:
    parts = []
    for name in names:
        with safe_open(path / name, framework="pt") as file:
            parts.append(file.get_tensor(LABELS).to(torch.int64))
    return torch.cat(parts)
