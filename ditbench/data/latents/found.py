"""What a reader of latents finds in files, and the data set that it makes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ditbench.data.class_names import names_of
from ditbench.data.dataset import HASHED, ImageDataset
from ditbench.data.io.files import shown, stamp
from ditbench.data.io.limits import MAX_SIDE
from ditbench.data.io.tensors import read_tensors, write_tensors
from ditbench.data.latents.rows import LatentRows
from ditbench.data.latents.space import LatentSpace
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import cache_directory, one_at_a_time

REVISION = "1"  # incremented when a scan finds other numbers in the same files


@dataclass(frozen=True)
class Found:
    """Latents in files of one format, before all of them have been read once."""

    path: Path
    rows: LatentRows
    read_labels: Callable[[], Tensor]  # (N,) integers
    space: LatentSpace
    flipped: bool  # the second half of the rows are those of mirrored images
    class_names: Sequence[str] = ()  # without them, classes have numbers for names
    files: Sequence[str] = ()  # the names of all files, below the path; none if it is one
    notes: tuple[str, ...] = ()
    content: str | None = None  # the digest of rows and labels, if it was recorded

    def dataset(self) -> ImageDataset:
        """The data set. All latents are read once, and again only when a file has changed; a
        DitbenchError if labels do not fit, numbers are not finite, or other latents were recorded.
        """
        scan = self.scan()
        if self.content not in (None, scan.content):
            raise DitbenchError(
                f"the latents in {shown(self.path)} are not those that were encoded",
                "a file is damaged: restore it, or remove it and run ditbench encode again",
                EXIT_FAILED,
            )
        names = names_of(self.class_names, scan.labels.tolist(), f"{shown(self.path)}: labels")
        # The name of the autoencoder is a place: its digest says which it is.
        facts = [replace(self.space, vae="").facts(), len(names), scan.content, self.flipped]
        mean, std = scan.in_model_range(self.space)
        shape = len(scan.labels), *self.rows.shape[1:]
        return ImageDataset(
            self.path.resolve().name.removesuffix(".npz"),
            torch.empty(shape, dtype=self.rows.dtype, device="meta"),
            scan.labels,
            names,
            notes=(*self.notes, f"in the range of the model: mean {mean:.3g}, std {std:.3g}"),
            file=self.rows,
            latents=self.space,
            flipped=self.flipped,
            known_digest=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
        )

    def scan(self) -> Scan:
        """What reading all of them once finds; cached as long as no file changes."""
        directory = cache_directory()
        if directory is None:
            return self._scanned()
        place = json.dumps([str(self.path.absolute()), self.rows.shape, str(self.rows.dtype)])
        name = hashlib.sha256(place.encode()).hexdigest()[:16]
        path = directory / f"latents-{name}.safetensors"
        key = {"revision": REVISION, "stamps": self._stamps()}
        # The processes that wait here then read the cache.
        with one_at_a_time(path.with_suffix(".lock")):
            if (cached := read_tensors(path, key)) is not None:
                return Scan(**cached)
            scan = self._scanned()
            write_tensors(path, key, vars(scan))
        return scan

    def _scanned(self) -> Scan:
        labels = self.read_labels().to(torch.int64)
        if labels.shape != (self.rows.shape[0] // (1 + self.flipped),):
            what = f"{shown(self.path)}: {len(labels)} labels for {self.rows.shape[0]} latents"
            raise DitbenchError(what, "one label per image is needed")
        return scanned(self.rows, labels.contiguous(), shown(self.path))

    def _stamps(self) -> str:
        """What changes when a file does."""
        sha = hashlib.sha256()
        for name in self.files or ("",):
            sha.update(repr((name, *(stamp(self.path / name) or ()))).encode())
        return sha.hexdigest()


@dataclass(frozen=True)
class Scan:
    """What is known of latents that were read once."""

    labels: Tensor  # (N,) int64
    digest: Tensor  # SHA-256 over shape, type, rows and labels: uint8 (32,)
    means: Tensor  # of each stored channel, float64
    stds: Tensor

    @property
    def content(self) -> str:
        """The digest in hex."""
        return bytes(self.digest.tolist()).hex()

    def in_model_range(self, space: LatentSpace) -> tuple[float, float]:
        """Mean and standard deviation of all numbers in the range of a model."""
        means, variances = self.means, self.stds.square()
        if space.moments:  # a draw has the variance of the mean, and that of its posterior
            means, deviations = means.chunk(2)
            variances, rest = variances.chunk(2)
            variances = variances + deviations.square() + rest
        ends = torch.stack([means, means + variances.sqrt()]).float()[:, :, None, None]
        if not space.scaled:  # the map is linear
            ends = space.normalize(ends)
        mean, std = ends[0].flatten().double(), (ends[1] - ends[0]).flatten().double()
        whole = mean.mean()
        return float(whole), math.sqrt(float((std.square() + (mean - whole).square()).mean()))


def scanned(rows: LatentRows, labels: Tensor, where: str) -> Scan:
    """Read all rows. Raises a DitbenchError if some are not finite; `where` names them."""
    sha = hashlib.sha256(repr((rows.shape, str(rows.dtype))).encode())
    sums, squares = torch.zeros(2, rows.shape[1], dtype=torch.float64)
    per_row = math.prod(rows.shape[1:])
    for index in torch.arange(rows.shape[0]).split(max(1, HASHED // (per_row * 4))):
        part = torch.empty(len(index), *rows.shape[1:], dtype=rows.dtype)
        rows.read(index, part)
        content: memoryview = part.reshape(-1).view(torch.uint8).numpy().data
        sha.update(content)
        numbers = part.float().flatten(2)  # (n, C, h * w)
        norms = torch.linalg.vector_norm(numbers, dim=2).double()
        if not norms.isfinite().all():  # far faster than a look at each number
            wrong = int(index[~norms.isfinite().all(1)][0]) % len(labels)
            what = f"{where}: latents of image {wrong} are NaN or infinite"
            raise DitbenchError(what, "encode the images again, in float32")
        sums += numbers.sum(2).double().sum(0)
        squares += norms.square().sum(0)
    sha.update(labels.numpy().data)
    count = rows.shape[0] * math.prod(rows.shape[2:])
    means = sums / count
    stds = (squares / count - means.square()).clamp(min=0).sqrt()
    return Scan(labels, torch.tensor(list(sha.digest()), dtype=torch.uint8), means, stds)


def check_shape(where: str, shape: Sequence[int], expected: str) -> None:
    """Raise a DitbenchError unless a shape (N, C, h, w) is one of latents."""
    if len(shape) != 4 or 0 in shape or max(shape[1:]) > MAX_SIDE:
        raise DitbenchError(f"{where} have shape {shown(tuple(shape))}", expected)
