"""Weights in torch's hub cache: where they are, and how to get them."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import torch

from ditbench.data.published import downloading
from ditbench.errors import EXIT_FAILED, DitbenchError


def cached(name: str) -> Path:
    """The path of a file of that name, or of a URL that ends in it, in torch's hub cache."""
    return Path(torch.hub.get_dir()) / "checkpoints" / name.rpartition("/")[2]


def command(url: str, path: Path) -> str:
    """The command that downloads a file."""
    return f"curl -L --create-dirs -o {shlex.quote(str(path))} {url}"


def fetch(url: str, path: Path, title: str, hint: str) -> None:
    """Download a file. The end of its name is the beginning of its SHA-256, as torch names them.

    Raises:
        DitbenchError: exit code 1, without a network, or if the file is another one.
    """
    sha = re.search(r"-([0-9a-f]{8,})\.pth$", url)
    prefix = sha.group(1) if sha else None
    try:
        with downloading():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), prefix, sys.stderr.isatty())
    except (OSError, RuntimeError) as error:  # no network, or a wrong hash
        what = f"no {title} weights: cannot download {url} ({error})"
        raise DitbenchError(what, hint, EXIT_FAILED) from error
