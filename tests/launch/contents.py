"""What runs leave in their directories, for comparisons of equal runs."""

import json

from clocks import timeless, without_clocks


def contents(run):
    """What a run leaves except for its clocks, by file; checkpoints hold a clock."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.suffix == ".csv":
            found[name] = timeless(path)
        elif path.suffix == ".json":
            found[name] = without_clocks(json.loads(path.read_text()))
        elif path.is_file():
            found[name] = path.suffix == ".safetensors" or path.read_bytes()
    return found


def runs(out):
    return {str(path.relative_to(out)): path for path in sorted(out.glob("digits/*/seed*"))}
