from __future__ import annotations

import numpy as np
import pytest

from ditbench.errors import DitbenchError
from ditbench.report.compare import LIKE, compare, differences, split_groups
from ditbench.report.results import load_results

FINAL = {
    "in-context": (16.0, 15.0, 17.5),
    "adaln-zero": (8.0, 9.0, 7.0),
    "adaln": (11.0, 10.0, 12.5),
}


@pytest.fixture
def runs(make_run, results):
    for block, fids in FINAL.items():
        for seed, fid in enumerate(fids):
            make_run(block, seed, (200.0, 50.0, fid), rate=40.0 + seed, label_accuracy=fid / 20)
    return load_results(results)


def test_means_and_deviations_are_numpys(runs):
    comparison = compare(runs)
    table = comparison.table.set_index("block")
    assert list(table.index) == ["adaln-zero", "adaln", "in-context"]  # ascending in FID
    for block, fids in FINAL.items():
        row = table.loc[block]
        assert row["seeds"] == 3
        assert row["fid"] == pytest.approx(np.mean(fids), rel=1e-12)
        assert row["fid_std"] == pytest.approx(np.std(fids, ddof=1), rel=1e-12)
        assert row["kid"] == pytest.approx(np.mean(fids) / 1000, rel=1e-12)
        assert row["label_accuracy"] == pytest.approx(np.mean(fids) / 20, rel=1e-12)
        assert row["steps_per_second"] == pytest.approx(41.0, rel=1e-12)
        assert row["fid_ratio"] == pytest.approx(np.mean(fids) / np.mean(FINAL["in-context"]))
    assert table.loc["adaln-zero", "parameters"] == 345_000
    assert table.loc["adaln-zero", "gmacs"] == 0.0035
    assert comparison.group["steps"] == 1200
    assert comparison.group["samples"] == 2000
    assert set(LIKE) <= set(comparison.group)


def test_the_baseline_is_in_context_or_the_one_that_is_asked_for(runs):
    assert compare(runs).baseline == "in-context"
    table = compare(runs, "adaln").table.set_index("block")
    assert table.loc["adaln", "fid_ratio"] == 1
    assert table.loc["adaln-zero", "fid_ratio"] == pytest.approx(8 / np.mean(FINAL["adaln"]))
    without = runs[runs["block"] != "in-context"]
    assert compare(without).baseline == "adaln"  # the first in the paper's order


def test_an_unknown_baseline_names_the_nearest(runs):
    with pytest.raises(DitbenchError, match="baseline 'adaln-zer'") as caught:
        compare(runs, "adaln-zer")
    assert "adaln-zero" in caught.value.hint


def test_the_sentence_names_the_leader_and_the_ratio(runs):
    sentence = compare(runs).sentence
    ratio = np.mean(FINAL["adaln"]) / np.mean(FINAL["adaln-zero"])
    assert sentence.startswith("adaln-zero has the lowest mean FID-2K, 8.00 (3 seeds)")
    assert f"adaln, has 11.17 (3 seeds), {ratio:.3g} times" in sentence
    assert "noise" not in sentence


def test_one_seed_is_said_to_tell_nothing(runs):
    comparison = compare(runs[runs["seed"] == 0])
    assert "One seed cannot tell a difference from noise" in comparison.sentence
    assert comparison.table["fid_std"].isna().all()


def test_one_seed_of_one_of_the_two_is_too_few(runs):
    lonely = runs[(runs["block"] != "adaln") | (runs["seed"] == 0)]
    assert "cannot tell a difference from noise" in compare(lonely).sentence


def test_one_block_is_no_comparison(runs):
    sentence = compare(runs[runs["block"] == "adaln"]).sentence
    assert sentence.startswith("Only adaln was run")


def test_no_runs_are_an_error(runs):
    with pytest.raises(DitbenchError, match="no runs"):
        compare(runs.iloc[:0])
    assert split_groups(runs.iloc[:0]) == []


UNLIKE = {
    "dataset": {"data__name": "cifar10"},
    "dataset_digest": {"dataset_digest": "f" * 64},
    "model": {"model__depth": 8},
    "input": {"input_size": "16x16x1"},
    "objective": {"objective__name": "ddpm"},
    "features": {"metrics__features": "inception"},
    "samples": {"eval__samples": 500},
    "sampler": {"eval__sampler": "heun"},
    "sampling_steps": {"eval__sampling_steps": 50},
    "cfg_scale": {"eval__cfg_scale": 1.5},
    "steps": {"budget__steps": 2400},
    "batch_size": {"train__batch_size": 64},
    "precision": {"train__precision": "bf16"},
}


def test_each_key_that_must_be_alike_is_tested():
    assert set(UNLIKE) == set(LIKE)


@pytest.mark.parametrize("key", UNLIKE)
def test_what_is_not_alike_is_refused_by_name_and_parted(key, make_run, results):
    make_run("adaln", 0, name="a")
    make_run("adaln-zero", 0, name="b", **UNLIKE[key])
    frame = load_results(results)
    assert list(differences(frame)) == [key]
    with pytest.raises(DitbenchError, match=rf"differ in {key} \(") as caught:
        compare(frame)
    assert "split_groups" in caught.value.hint
    groups = split_groups(frame)
    assert [group["block"].unique().tolist() for group in groups] == [["adaln"], ["adaln-zero"]]
    assert [compare(group).table["block"].tolist() for group in groups] == [
        ["adaln"],
        ["adaln-zero"],
    ]


def test_two_configurations_of_one_block_are_never_averaged_as_seeds(make_run, results):
    for lr in (1e-3, 4e-3):
        for block in ("adaln", "adaln-zero"):
            make_run(block, 0, (200.0, 1e4 * lr), train__lr=lr)
    frame = load_results(results)
    with pytest.raises(DitbenchError, match=r"differ in train\.lr \(0\.00., 0\.00.\)"):
        compare(frame)
    groups = [compare(group) for group in split_groups(frame)]
    assert sorted(group.group["lr"] for group in groups) == [1e-3, 4e-3]
    assert all(len(group.table) == 2 for group in groups)


def test_a_learning_rate_of_its_own_for_each_block_is_one_group(make_run, results):
    make_run("adaln", 0, train__lr=1e-3)
    make_run("adaln-zero", 0, train__lr=2e-3)
    (group,) = split_groups(load_results(results))
    assert "lr" not in compare(group).group


def test_the_speed_of_different_devices_is_not_averaged(make_run, results):
    make_run("adaln", 0, rate=40.0)
    make_run("adaln", 1, rate=400.0, device="NVIDIA H200")
    comparison = compare(load_results(results))
    assert comparison.table[["steps_per_second", "peak_memory_bytes"]].isna().all(axis=None)
    assert comparison.table["fid"].item() == 8.0


def test_the_heading_says_what_was_compared(runs):
    heading = compare(runs).heading
    for part in ("digits 8x8x1", "64x4x4/2", "flow", "1,200 steps of 128", "FID-2K", "euler 25"):
        assert part in heading
