"""Copies of committed runs under other seeds: any number of valid runs."""

import re
import shutil
from pathlib import Path

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def write_copy(source, results, name, seed):
    """Copy a run, without its samples, as if it had used another seed."""
    run = results / name
    run.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file():
            shutil.copyfile(path, run / path.name)
    for file, pattern in (("config.toml", r"seed = \d+"), ("result.json", r'"seed": \d+')):
        text = (run / file).read_text()
        changed, count = re.subn(pattern, lambda m: re.sub(r"\d+", str(seed), m[0]), text, count=1)
        assert count == 1
        (run / file).write_text(changed)
    return run
