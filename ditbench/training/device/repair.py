"""Torch's caches of compiled code, in which an interrupted compilation may leave damaged files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# The names of files of Inductor, and of directories of Triton: a hash in base 32.
_KEY = re.compile(r"(?<![A-Za-z2-7])(?:[a-z2-7]{51,52}|[A-Z2-7]{51,52})(?![A-Za-z2-7])")
# Each attempt removes what the error of the one before names: code that imports other code.
ATTEMPTS = 30


def repaired(compute: Callable[[], T]) -> T:
    """The result of a computation that compiles; damaged files are removed, and made again."""
    for _ in range(ATTEMPTS):
        try:
            return compute()
        except Exception as error:
            if not _remove_damaged(error):
                raise
    return compute()


def _remove_damaged(error: BaseException | None) -> bool:
    """Remove the files of the caches that an error or its causes name; whether there were any."""
    keys: set[str] = set()
    while error is not None:
        keys.update(_KEY.findall(str(error)))
        error = error.__cause__ or error.__context__
    removed = False
    for path in [path for key in sorted(keys) for path in _files_of(key)]:
        with suppress(OSError):  # another process may have removed it
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            removed = True
    if removed:  # also what this process has compiled and loaded
        import torch
        from torch._inductor.codecache import PyCodeCache

        PyCodeCache.cache_clear()
        torch._dynamo.reset()
    return removed


def _files_of(key: str) -> list[Path]:
    from torch._inductor.runtime.cache_dir_utils import cache_dir, triton_cache_dir

    inductor, triton = Path(cache_dir()), Path(triton_cache_dir(0)).parent
    places = [*inductor.glob(f"{key[1:3]}/{key}*"), *triton.glob(f"*/{key}")]
    return [*places, *(Path.home() / ".triton" / "cache").glob(key)]
