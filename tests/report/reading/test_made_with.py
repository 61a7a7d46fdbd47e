"""What runs were made with: backend, versions, device, and the source of an external block."""

import hashlib

import pytest

from ditbench.report.reading.groups import split_groups
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare


def test_backends_that_differ_are_pointed_out(make_run, results):
    for block, backend in (("adaln", "kernels"), ("in-context", "plain"), ("joint", None)):
        make_run(block, 0, environment={"backend": backend})
    notes = compare(load_results(results)).notes
    assert "Backends differ: in-context plain, adaln kernels." in notes


def test_runs_that_saved_memory_are_ranked_with_others_and_pointed_out(make_run, results):
    saving = {"train__micro_batch": 64, "train__checkpoint_blocks": True}
    make_run("adaln", 0, environment={"backend": "kernels"}, **saving)
    make_run("joint", 0, environment={"backend": "kernels"})
    found = compare(load_results(results))
    assert len(found.table) == 2
    how = "adaln kernels, batches in parts of 64, blocks recomputed, joint kernels"
    assert f"Backends differ: {how}." in found.notes


def test_versions_that_differ_are_pointed_out_in_natural_order(make_run, results):
    versions = {"adaln": ("0.2.0", "2.11.0"), "in-context": ("0.10.0", "2.9.1")}
    for block, (ditbench, torch) in versions.items():
        make_run(block, 0, environment={"ditbench": ditbench, "packages": {"torch": torch}})
    make_run("joint", 0)  # an older run that records neither
    remark = "Made with ditbench 0.2.0 and 0.10.0, torch 2.9.1 and 2.11.0."
    runs = load_results(results)
    assert remark in compare(runs).notes
    assert "Made with" not in " ".join(compare(load_results(results, "adaln,joint")).notes)
    runs.loc[runs["block"] == "joint", "budget"] = "7 steps"
    assert remark in compare(runs, force=True).notes


@pytest.mark.parametrize(
    ("facts", "device"),
    [
        ({"processor": "AMD EPYC", "threads": 2}, "AMD EPYC, 2 threads"),
        ({"processor": "AMD EPYC", "threads": 1}, "AMD EPYC, 1 thread"),
        ({"processor": "", "threads": 2}, "cpu, 2 threads"),
        ({"processor": "AMD EPYC"}, "AMD EPYC"),
        ({"processor": 7, "threads": True, "packages": [], "ditbench": None}, "cpu"),
        ({}, "cpu"),
    ],
)
def test_the_device_of_a_cpu_is_its_processor_and_threads(make_run, results, facts, device):
    make_run("adaln", 0, environment=facts)
    assert set(load_results(results)["device"]) == {device}


def test_the_device_of_a_gpu_is_its_name(make_run, results):
    make_run("adaln", 0, device="NVIDIA H200", environment={"processor": "Xeon", "threads": 16})
    assert set(load_results(results)["device"]) == {"NVIDIA H200"}


def test_threads_that_differ_leave_times_out_and_name_the_devices(make_run, results):
    for seed, threads in enumerate((2, 1, 1)):
        make_run("adaln", seed, environment={"processor": "Xeon", "threads": threads})
    comparison = compare(load_results(results))
    timed = ["train_seconds", "steps_per_second", "peak_memory_bytes"]
    assert comparison.table[timed].isna().all(axis=None)
    assert comparison.table["fid"].item() == 8.0
    assert "different devices (Xeon, 1 thread; Xeon, 2 threads)." in " ".join(comparison.notes)


def test_versions_of_an_external_block_are_kept_apart(make_run, results):
    """By its hash, and only where there are several; what runs have in common stays theirs."""
    first = {"location": "/a/mine.py:Mine", "sha256": "a" * 64}
    second = {"location": "/b/mine.py:Mine", "sha256": "b" * 64}
    for seed in (0, 1):
        make_run("Mine", seed, strategy=first)
        make_run("adaln", seed)
    assert sorted(set(load_results(results)["block"])) == ["Mine", "adaln"]
    make_run("Mine", 0, strategy=second)
    runs = load_results(results)
    names = ["Mine@aaaaaaaa", "Mine@bbbbbbbb", "adaln"]
    assert sorted(set(runs["block"])) == names
    assert len(split_groups(runs)) == 1
    assert sorted(compare(runs).table["block"]) == names
    assert sorted(set(load_results(results / "digits" / "adaln")["block"])) == ["adaln"]


def test_an_external_block_that_was_moved_is_the_same(make_run, results):
    for seed, place in enumerate(("/a/mine.py:Mine", "/b/mine.py:Mine")):
        make_run("Mine", seed, strategy={"location": place, "sha256": "a" * 64})
    runs = load_results(results)
    assert set(runs["block"]) == {"Mine"}
    assert runs["fingerprint"].nunique() == 1


@pytest.mark.parametrize("source", [b"edited", None])
def test_a_copy_of_another_source_is_refused_and_none_at_all_is_not(make_run, results, source):
    right = {"location": "/a/mine.py:Mine", "sha256": hashlib.sha256(b"source").hexdigest()}
    run = make_run("Mine", 0, strategy=right)
    run.strategy.write_bytes(b"source")
    assert len(load_results(results))
    run.strategy.unlink() if source is None else run.strategy.write_bytes(source)
    make_run("adaln", 0)
    skipped = load_results(results).attrs["skipped"]
    assert [reason for _, reason in skipped] == (
        [] if source is None else ["strategy.py is not the source that config.toml names"]
    )
