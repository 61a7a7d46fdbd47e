"""The process that decodes blocks of many files: `python -m ditbench.data.decode_worker`.

It reads a `Job` as JSON from the first line of stdin and the number of a block from each line after
it, and writes that block's pixels to stdout. At the first bad file it ends without its block:
whoever reads finds out by itself what is wrong with it.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from ditbench.data.archive import open_files
from ditbench.data.decode import decode, must_be_alike
from ditbench.data.workers import Job
from ditbench.errors import DitbenchError


def work(lines: IO[str], out: IO[bytes]) -> None:
    """Decode blocks until there are no more lines.

    Raises:
        DitbenchError: a bad file.
        OSError: nobody reads any more.
        ValueError: a line that is cut short.
    """
    job = Job(*json.loads(lines.readline()))
    with open_files(Path(job.path)) as files:
        for line in lines:
            pixels = bytearray()
            for name in job.blocks[int(line)]:
                image = decode(name, files.read(name))
                must_be_alike(name, image.shape, "the first", tuple(job.shape))
                pixels += image.pixels
            out.write(pixels)
            out.flush()


if __name__ == "__main__":
    with suppress(DitbenchError, OSError, ValueError):
        work(sys.stdin, sys.stdout.buffer)
