"""What equal runs leave alike: all but times, what depends on them, and what a process needs."""

import csv

CLOCKS = {"seconds", "train_seconds", "eval_seconds", "sampling_seconds", "steps_per_second",
          "samples_per_second", "peak_memory_bytes", "sha256"}  # fmt: skip


def without_clocks(value):
    """A table, and the tables in it, without clocks; any other value as it is."""
    if isinstance(value, dict):
        return {key: without_clocks(item) for key, item in value.items() if key not in CLOCKS}
    return value


def cells(path):
    """The texts of a CSV file: one table per row."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def timeless(path):
    """The texts of a CSV file, without clocks."""
    return list(map(without_clocks, cells(path)))


def assert_same_end(one, two):
    """Two runs left equal tables, but for clocks, and checkpoints equal to the last bit."""
    from ditbench.training.checkpoint import read_checkpoint

    for name in ("train", "evaluations"):
        assert timeless(getattr(one.directory, name)) == timeless(getattr(two.directory, name))
    ours, theirs = (read_checkpoint(plan.directory.checkpoint)[0] for plan in (one, two))
    assert ours.keys() == theirs.keys()
    # Weights, averages, moments and generators.
    assert all(ours[name].equal(value) for name, value in theirs.items())
