"""Copies of committed runs under other seeds: any number of valid runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ditbench.models.registry import block_names

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def write_copy(source: Path, results: Path, name: str, seed: int) -> Path:
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


def good_runs(results: Path, count: int) -> list[Path]:
    """`count` valid runs, spread evenly over the four blocks of the paper."""
    blocks = [REFERENCE / "digits" / name for name in block_names("paper")]
    runs = []
    for number in range(count):
        block, seed = blocks[number % len(blocks)], number // len(blocks)
        source = sorted(block.iterdir())[seed % 5]
        runs.append(write_copy(source, results, f"{block.name}/seed{seed}", seed))
    return runs
