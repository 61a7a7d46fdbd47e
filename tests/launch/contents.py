"""What runs leave in their directories, for comparisons of equal runs."""

import csv
import json

# Times, what depends on them, and what a process needs.
CLOCKS = {"seconds", "train_seconds", "eval_seconds", "sampling_seconds", "steps_per_second",
          "samples_per_second", "peak_memory_bytes", "sha256"}  # fmt: skip


def without_clocks(value):
    if isinstance(value, dict):
        return {key: without_clocks(item) for key, item in value.items() if key not in CLOCKS}
    return value


def contents(run):
    """What a run leaves except for its clocks, by file; checkpoints hold a clock."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.suffix == ".csv":
            found[name] = [without_clocks(row) for row in csv.DictReader(path.open())]
        elif path.suffix == ".json":
            found[name] = without_clocks(json.loads(path.read_text()))
        elif path.is_file():
            found[name] = path.suffix == ".safetensors" or path.read_bytes()
    return found


def runs(out):
    return {str(path.relative_to(out)): path for path in sorted(out.glob("digits/*/seed*"))}
