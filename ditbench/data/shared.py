"""A data set that new processes of this machine receive, so that they read no pictures again."""

from __future__ import annotations

import io
import math
import mmap
import os
import pickle
import warnings
import weakref
from functools import cached_property
from multiprocessing.reduction import DupFd
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ditbench.data.dataset import ImageDataset
from ditbench.data.mapped import MappedFile

ALIGNED = 64  # bytes: the alignment of tensors that torch allocates


class SharedDataset:
    """A data set, as an argument of new processes. It can only be pickled while one is started.

    Its tensors are copied once, into memory that all of these processes have: it needs no space on
    disk or in /dev/shm, which is small in containers. Files that are mapped are mapped again.
    Where the system has no such memory (other than Linux) or too little, each process gets a copy.
    """

    def __init__(self, content: bytes, places: list[Place], memory: int | None) -> None:
        self._content, self._places = content, places
        self._memory = memory  # the descriptor of a file in memory
        if memory is not None:
            weakref.finalize(self, os.close, memory)

    @classmethod
    def of(cls, dataset: ImageDataset) -> SharedDataset:
        """The data set of this process, to be sent."""
        stored: list[Tensor] = []
        content = _pickled(dataset, stored)
        places = _places(stored)
        try:
            descriptor = _memory_file(places[-1].end)
        except (AttributeError, OSError):
            return cls(_pickled(dataset, None), [], None)
        memory = mmap.mmap(descriptor, 0)
        for place, tensor in zip(places, stored, strict=True):
            place.tensor(memory).copy_(tensor)
        return cls(content, places, descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        memory = None if self._memory is None else DupFd(self._memory)
        return _received, (self._content, self._places, memory)

    @cached_property
    def dataset(self) -> ImageDataset:
        """The data set. Raises a DitbenchError (exit code 1) if a mapped file was replaced."""
        unpickler = _Unpickler(io.BytesIO(self._content))
        if self._memory is not None:
            # Read-only: the data of one process are those of all.
            memory = mmap.mmap(self._memory, 0, access=mmap.ACCESS_READ)
            unpickler.tensors = [place.tensor(memory) for place in self._places]
        dataset: ImageDataset = unpickler.load()
        return dataset


def _received(content: bytes, places: list[Place], memory: Any) -> SharedDataset:
    return SharedDataset(content, places, None if memory is None else memory.detach())


class Place(NamedTuple):
    """Where a tensor is in a memory file."""

    offset: int  # in bytes
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def end(self) -> int:
        """The first byte behind the tensor."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def tensor(self, memory: mmap.mmap) -> Tensor:
        """The tensor, which is that memory."""
        count = math.prod(self.shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch has no read-only tensors
            flat = torch.frombuffer(memory, dtype=self.dtype, count=count, offset=self.offset)
        return flat.view(self.shape)


def _places(tensors: list[Tensor]) -> list[Place]:
    """A place for each tensor, one after the other."""
    places: list[Place] = []
    end = 0
    for tensor in tensors:
        places.append(Place(-(-end // ALIGNED) * ALIGNED, tensor.dtype, tuple(tensor.shape)))
        end = places[-1].end
    return places


def _memory_file(size: int) -> int:
    """The descriptor of a file of this size in memory, which is reserved. Raises an OSError."""
    descriptor = os.memfd_create("ditbench")
    try:
        # Without that, a process would be ended when it writes a page that there is no memory for.
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _pickled(dataset: ImageDataset, stored: list[Tensor] | None) -> bytes:
    """A data set without its tensors, which are appended to `stored`; or, without it, with them."""
    file = io.BytesIO()
    _Pickler(file, dataset, stored).dump(dataset)
    return file.getvalue()


class _Pickler(pickle.Pickler):
    def __init__(
        self, file: io.BytesIO, dataset: ImageDataset, stored: list[Tensor] | None
    ) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.stored = stored
        # Held-out images that are not read yet are not sent.
        files = [each.file for each in (dataset, vars(dataset).get("held_out")) if each]
        self.mapped = [file for file in files if isinstance(file, MappedFile)]

    def persistent_id(self, value: Any) -> int | None:
        """The number of a tensor in memory."""
        in_memory = isinstance(value, Tensor) and value.device.type == "cpu" and value.numel() > 0
        if self.stored is None or not in_memory or self._file_of(value):
            return None
        self.stored.append(value)
        return len(self.stored) - 1

    def reducer_override(self, value: Any) -> Any:
        """How the rows of a mapped file are found again."""
        file = self._file_of(value)
        return (getattr, (file, "tensor")) if file else NotImplemented

    def _file_of(self, value: Any) -> MappedFile | None:
        return next((file for file in self.mapped if file.tensor is value), None)


class _Unpickler(pickle.Unpickler):
    tensors: list[Tensor]

    def persistent_load(self, number: int) -> Tensor:
        return self.tensors[number]
