"""Images as shards of latents: each shard is written once, whichever device encodes it."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from ditbench.amounts import counted, file_size
from ditbench.data.io.files import shown
from ditbench.data.latents import MOMENTS, SAMPLE, shards
from ditbench.data.latents.pictures import Images, Pixels
from ditbench.data.latents.space import LatentSpace
from ditbench.data.latents.vae import Vae
from ditbench.data.pictures.decode import batched
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import make_directory, remove_leftovers, write_atomically, write_json
from ditbench.seeds import generator

BATCH = 64  # images that go to a device at once
SEED = 0  # of the draws of kind `sample`
MAX_PROBLEMS = 1_000  # that the index lists


@dataclass(frozen=True)
class Settings:
    """How images are encoded."""

    image_size: int = 256
    kind: str = MOMENTS
    flip: bool = True  # encode the mirrored images, too
    dtype: str = "float16"
    shard_size: int = 10_000


class Encoding:
    """The work of encoding images into a folder; a part of it may be done. Raises a DitbenchError
    if the folder holds something else, or (exit code 1) the disk has too little space.
    """

    def __init__(self, images: Images, out: Path, vaes: Sequence[Vae], settings: Settings) -> None:
        self.images, self.out, self.vaes, self.settings = images, out, vaes, settings
        self.space: LatentSpace = vaes[0].space(settings.image_size, settings.kind)
        self.count = len(images.labels)
        facts = [self.space.vae_digest, asdict(settings), images.class_names, images.facts()]
        self.job = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        total = math.ceil(self.count / settings.shard_size)
        self.names = [f"shard-{n:05d}-of-{total:05d}.safetensors" for n in range(total)]
        self._unreadable = 0
        self.done = self._find_done()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._check_space()

    @property
    def row(self) -> tuple[int, int, int]:
        """The shape of a latent."""
        side = self.settings.image_size // self.space.downsampling
        return self.vaes[0].channels * (1 + self.space.moments), side, side

    @property
    def nbytes(self) -> int:
        """The bytes of all latents."""
        one = math.prod(self.row) * getattr(torch, self.settings.dtype).itemsize
        return self.count * one * (1 + self.settings.flip)

    @property
    def remaining(self) -> list[int]:
        """The shards that are not written yet."""
        return [number for number in range(len(self.names)) if number not in self.done]

    def numbers(self, shard: int) -> range:
        """The images of a shard."""
        size = self.settings.shard_size
        return range(shard * size, min(self.count, (shard + 1) * size))

    def run(self, passed: Callable[[int], None]) -> None:
        """Encode what remains, on all devices at once, and write the index.

        `passed` receives numbers of images that were encoded, in several threads. A DitbenchError
        for too many unreadable pictures, latents that are not finite, or (exit code 1) a full disk.
        """
        make_directory(self.out)
        remove_leftovers(self.out)
        waiting = iter(self.remaining)  # each device takes the next one

        def work(vae: Vae) -> None:
            for shard in waiting:
                if self._stop.is_set():
                    return
                self._write(vae, shard, passed)

        with ThreadPoolExecutor(len(self.vaes)) as pool:
            working = [pool.submit(work, vae) for vae in self.vaes]
            try:
                wait(working, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
        for each in working:
            each.result()
        self._write_index()

    def _write(self, vae: Vae, shard: int, passed: Callable[[int], None]) -> None:
        draws = generator(SEED, "encode", shard)
        latents: list[list[Tensor]] = []  # by batch: of the images, and of their mirror images
        labels: list[int] = []
        problems: list[str] = []
        others = 0
        numbers = self.numbers(shard)
        pairs = zip(numbers, self.images.read(numbers), strict=True)
        for batch in batched(pairs, BATCH):
            if self._stop.is_set():
                return
            good = [(n, pixels) for n, pixels in batch if isinstance(pixels, np.ndarray)]
            unreadable = [problem for _, problem in batch if isinstance(problem, str)]
            others += len(batch) - len(good) - len(unreadable)
            problems += unreadable
            self._count(len(unreadable))
            if good:
                labels += [self.images.labels[number] for number, _ in good]
                latents.append(self._encoded(vae, [pixels for _, pixels in good], draws))
            passed(len(batch))
        if not labels:
            return
        each = [torch.cat(parts).contiguous() for parts in zip(*latents, strict=True)]
        tensors = dict(zip((shards.PLAIN, shards.FLIPPED), each, strict=False))
        tensors[shards.LABELS] = torch.tensor(labels)
        # One entry: safetensors writes several in a random order.
        facts = {"version": shards.VERSION, "job": self.job, "problems": problems, "others": others}
        data = save(tensors, {shards.FORMAT: json.dumps(facts)})
        write_atomically(self.out / self.names[shard], lambda file: file.write(data))

    def _encoded(self, vae: Vae, good: list[Pixels], draws: torch.Generator) -> list[Tensor]:
        """What is stored of images (C, H, W) and, if wanted, of their mirror images."""
        rgb = [np.broadcast_to(pixels, (3, *pixels.shape[1:])) for pixels in good]
        images = torch.from_numpy(np.stack(rgb))
        given = [images, images.flip(-1)] if self.settings.flip else [images]
        return [self._stored(vae.encode(each), draws) for each in given]

    def _stored(self, moments: Tensor, draws: torch.Generator) -> Tensor:
        """What is stored of posteriors (n, 2C, h, w), on the CPU."""
        mean, std = moments.chunk(2, dim=1)
        stored = moments if self.space.moments else mean
        if self.space.kind == SAMPLE:
            stored = mean + std * torch.randn(mean.shape, generator=draws).to(mean.device)
        stored = stored.to(getattr(torch, self.settings.dtype)).cpu()
        if not stored.isfinite().all():
            raise DitbenchError(
                f"latents are NaN, or beyond the range of {self.settings.dtype}",
                "check the autoencoder; or store them with --dtype float32",
                EXIT_FAILED,
            )
        return stored

    def _count(self, unreadable: int) -> None:
        with self._lock:
            self._unreadable += unreadable
            self.images.check(self._unreadable)

    def _find_done(self) -> set[int]:
        """The shards that an earlier command has written."""
        other = DitbenchError(
            f"{shown(self.out)} holds other latents, or those of other settings",
            "choose another folder: -o; or remove that one",
        )
        if self.out.exists() and not self.out.is_dir():
            raise DitbenchError(f"{shown(self.out)} is not a folder", "choose another place: -o")
        done = set()
        for path in self.out.glob("*.safetensors"):
            if path.name not in self.names:
                raise other
            try:
                facts = self._facts(path.name)
            except DitbenchError:  # it is damaged, and will be replaced
                continue
            if facts.get("job") != self.job:
                raise other
            self._unreadable += len(facts["problems"])
            done.add(self.names.index(path.name))
        return done

    def _facts(self, name: str) -> dict[str, Any]:
        """What `_write` recorded in a shard; empty if it is another program's."""
        facts = shards.read_shard(self.out, name).metadata.get(shards.FORMAT, "{}")
        return dict(json.loads(facts))

    def _check_space(self) -> None:
        place = next(each for each in (self.out, *self.out.absolute().parents) if each.exists())
        share = sum(len(self.numbers(shard)) for shard in self.remaining) / max(1, self.count)
        free, needed = shutil.disk_usage(place).free, share * self.nbytes
        if free < needed:
            raise DitbenchError(
                f"the latents need {file_size(needed)}, {shown(self.out)} has {file_size(free)}",
                "choose another disk: -o; or store less: --kind mean takes half",
                EXIT_FAILED,
            )

    def _write_index(self) -> None:
        names = [name for name in self.names if (self.out / name).is_file()]
        if not names:
            raise DitbenchError("no picture could be read", "ditbench init lists the problems")
        facts = [self._facts(name) for name in names]
        problems = [line for each in facts for line in each["problems"]]
        others = sum(each["others"] for each in facts)
        notes = [*self.images.notes]
        notes += [f"{len(problems)} unreadable skipped"] if problems else []
        notes += [f"files of other formats passed over: {others}"] if others else []
        index: dict[str, Any] = {
            "format": shards.FORMAT,
            "version": shards.VERSION,
            "source": self.images.name,
            "space": self.space.facts(),
            "settings": asdict(self.settings),
            "class_names": list(self.images.class_names),
            "shards": names,
            "notes": notes,
            "problems": problems[:MAX_PROBLEMS],
            "job": self.job,
        }
        scan = shards.found_of(self.out, index, self.space).scan()
        index |= {
            "images": len(scan.labels),
            "content": scan.content,
            "channel_means": scan.means.tolist(),
            "channel_stds": scan.stds.tolist(),
        }
        write_json(self.out / shards.INDEX, index)


def notes_of(folder: Path) -> list[str]:
    """What the index of a folder of latents says, a line each."""
    index = shards.read_index(folder) or {}
    classes = counted(len(index["class_names"]), "class")
    lines = [f"{folder}: {counted(index['images'], 'image')}, {classes}"]
    return [*lines, *index["notes"], *index["problems"]]
