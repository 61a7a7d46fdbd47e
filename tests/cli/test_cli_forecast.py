"""What `--dry-run` says of memory and disk, and of models that a CPU does not time."""

import json
import re

import pytest

from ditbench.cli.execution import forecast
from ditbench.runs.planning import memory

RUN = ("run", "--block", "adaln,adaln-zero", "--dry-run")


def test_a_model_that_is_untimed_for_a_cpu_is_not_timed(cli, succeed, tiny, untimed, elsewhere):
    result = succeed(*RUN, *tiny)
    assert "calibrating" not in result.stderr
    rows = json.loads(cli(*RUN, *tiny, "--json").stdout)
    assert [row["expected_total_seconds"] for row in rows] == [None, None]
    text = " ".join(result.stdout.split())
    hours = re.search(r"about (\S+) GPU hours at 400 TFLOP/s", text)
    assert hours
    total = sum(row["train_flops"] for row in rows)
    assert float(hours[1]) == pytest.approx(total / 4e14 / 3600, rel=1e-2)
    # Each run keeps two checkpoints of four float32 numbers per parameter; one more is written.
    parameters = [row["parameters"] for row in rows]
    disk = 16 * (2 * sum(parameters) + max(parameters))
    assert f"Disk: {disk / 1e3:.3g} kB of checkpoints" in text
    assert [row["disk_bytes"] for row in rows] == [16 * 3 * count for count in parameters]
    needed = [row["gpu_memory_bytes"] for row in rows]
    assert needed[0] < needed[1]
    assert f"Memory: adaln-zero needs about {forecast._gib(needed[1])} of a GPU in bf16" in text
    assert {row["gpu_memory_precision"] for row in rows} == {"bf16"}
    cards = [{"gpu_bytes": size * 2**30, "settings": {}} for size in (24, 40, 80)]
    assert [row["fits"] for row in rows] == [cards, cards]
    assert "On 24 GiB it fits. On 40 GiB it fits. On 80 GiB it fits." in text
    assert not list(elsewhere.iterdir())


def test_settings_with_which_a_run_fits_are_named(cli, tiny, untimed, elsewhere, monkeypatch):
    fits = {24: None, 40: {"train.micro_batch": 8, "train.checkpoint_blocks": True}, 80: {}}
    monkeypatch.setattr(memory, "what_fits", lambda _task, card, _precision: fits[card // 2**30])
    text = " ".join(cli(*RUN, *tiny).stdout.split())
    assert (
        "On 24 GiB it does not fit. On 40 GiB it fits with --set train.micro_batch=8 --set "
        "train.checkpoint_blocks=true. On 80 GiB it fits." in text
    )
    (row, _) = json.loads(cli(*RUN, *tiny, "--json").stdout)
    assert [each["settings"] for each in row["fits"]] == list(fits.values())


def test_a_complete_run_needs_nothing(cli, succeed, tiny, elsewhere):
    arguments = ("run", "--block", "adaln", *tiny)
    succeed(*arguments)
    (row,) = json.loads(cli(*arguments, "--dry-run", "--json").stdout)
    assert row["disk_bytes"] is row["gpu_memory_bytes"] is row["fits"] is None
    answer, place, *_ = cli(*arguments, "--dry-run").stdout.splitlines()
    assert answer == "Nothing is left to do: 1 run, complete."
    assert place.startswith("Results go into results/digits/adaln/seed0-")


def test_a_small_model_is_not_compared_with_cards(cli, tiny, elsewhere):
    text = cli("run", "--block", "adaln", "--dry-run", *tiny).stdout
    assert "Disk: " in text
    assert "Memory: " not in text


def test_memory_is_in_binary_units():
    assert forecast._gib(24 * 2**30) == "24 GiB"
    assert forecast._gib(round(94.34 * 2**30)) == "94.3 GiB"
