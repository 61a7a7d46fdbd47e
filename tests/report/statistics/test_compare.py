import csv
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ditbench.errors import DitbenchError
from ditbench.report.facts import ALIKE, INFERRED
from ditbench.report.reading.groups import split_groups
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare, compare_groups
from ditbench.report.statistics.looks import nominal_level
from ditbench.report.tables.comparisons import render_comparisons

FINAL = {
    "in-context": (16.0, 15.0, 18.0),
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
    baseline = FINAL["in-context"]
    for block, fids in FINAL.items():
        row = table.loc[block]
        assert row["seeds"] == 3
        assert row["fid"] == pytest.approx(np.mean(fids), rel=1e-12)
        assert row["fid_std"] == pytest.approx(np.std(fids, ddof=1), rel=1e-12)
        assert row["kid"] == pytest.approx(np.mean(fids) / 1000, rel=1e-12)
        assert row["label_accuracy"] == pytest.approx(np.mean(fids) / 20, rel=1e-12)
        assert row["steps_per_second"] == pytest.approx(41.0, rel=1e-12)
        assert row["fid_geometric"] == pytest.approx(stats.gmean(fids))
        assert row["fid_ratio"] == pytest.approx(stats.gmean(fids) / stats.gmean(baseline))
    assert table.loc["adaln-zero", "parameters"] == 345_000
    assert table.loc["adaln-zero", "gmacs"] == 0.0035
    assert set(table["steps"]) == {1200}
    assert comparison.group["budget"] == "1,200 steps"
    assert comparison.group["samples"] == 2000
    assert set(ALIKE) <= set(comparison.group)


def test_the_baseline_is_in_context_or_the_one_that_is_asked_for(runs):
    assert compare(runs).baseline == "in-context"
    table = compare(runs, "adaln").table.set_index("block")
    assert table.loc["adaln", "fid_ratio"] == 1
    ratio = stats.gmean(FINAL["adaln-zero"]) / stats.gmean(FINAL["adaln"])
    assert table.loc["adaln-zero", "fid_ratio"] == pytest.approx(ratio)
    without = runs[runs["block"] != "in-context"]
    assert compare(without).baseline == "adaln"  # the first in the paper's order


def test_an_unknown_baseline_names_the_nearest(runs):
    with pytest.raises(DitbenchError, match="baseline 'adaln-zer'") as caught:
        compare(runs, "adaln-zer")
    assert "adaln-zero" in caught.value.hint


def test_differences_are_paired_by_seed_as_scipy_pairs_them(runs):
    table = compare(runs).table.set_index("block")
    for block in ("adaln", "adaln-zero"):
        expected = stats.ttest_rel(np.log(FINAL[block]), np.log(FINAL["in-context"]))
        ends = np.exp([*expected.confidence_interval(1 - 0.05 / 2)])  # Bonferroni: of two tests
        linear = stats.ttest_rel(FINAL[block], FINAL["in-context"])
        interval = linear.confidence_interval(1 - 0.05 / 2)
        row = table.loc[block]
        assert row["pairs"] == 3
        assert row["p_value"] == pytest.approx(expected.pvalue)
        difference = np.mean(FINAL[block]) - np.mean(FINAL["in-context"])
        found = row[["fid_difference", "fid_difference_low", "fid_difference_high"]].tolist()
        assert found == pytest.approx([difference, *interval])
        assert [row["fid_ratio_low"], row["fid_ratio_high"]] == pytest.approx(ends)
        assert row["p_bonferroni"] == pytest.approx(min(1, 2 * expected.pvalue))


def test_of_the_baseline_beside_itself_nothing_is_inferred(runs):
    row = compare(runs).table.set_index("block").loc["in-context"]
    assert (row["fid_ratio"], row["fid_difference"]) == (1, 0)
    assert row[list(INFERRED)].isna().all()


def test_means_have_scipys_interval(runs):
    table = compare(runs).table.set_index("block")
    for block, fids in FINAL.items():
        interval = stats.t.interval(0.95, 2, np.mean(fids), stats.sem(fids))
        assert table.loc[block, ["fid_low", "fid_high"]].tolist() == pytest.approx(interval)


def test_the_sentence_names_the_leader_and_the_ratio(runs):
    sentence = compare(runs).sentence
    ratio = stats.gmean(FINAL["adaln"]) / stats.gmean(FINAL["adaln-zero"])
    means = {block: np.mean(fids) for block, fids in FINAL.items()}
    assert sentence.startswith(
        f"No winner: adaln-zero leads with FID-2K {means['adaln-zero']:.2f}, not distinguishable "
        f"from 2 of 2, nearest adaln ({100 * (ratio - 1):.0f}% above, p = "
    )


@pytest.mark.parametrize("kind", ["csv", "json", "md", "latex"])
def test_with_one_seed_there_is_no_claim_in_any_format(runs, kind):
    comparison = compare(runs[runs["seed"] == 0], target_fid=30.0)
    assert "one seed cannot separate a difference from noise" in comparison.sentence
    empty = [*INFERRED, "fid_std", "fid_low", "fid_high"]
    assert comparison.table[empty].isna().all(axis=None)
    text = render_comparisons([comparison], kind)
    if kind == "json":
        (group,) = json.loads(text)["groups"]
        assert all(row[name] is None for row in group["rows"] for name in empty)
        assert not any(row["winner"] for row in group["rows"])
        assert group["verdict"]["winner"] is None
        for rival in group["verdict"]["rivals"]:
            assert {rival[key] for key in ("ratio_low", "ratio_high", "p_value")} == {None}
    elif kind == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert all(row[name] == "" for row in rows for name in empty)
        assert {row["winner"] for row in rows} == {"False"}
    else:
        assert not re.search(r"signific|interval|confiden|CI|\| p|p =|±|\\pm|t test", text)


def test_the_order_of_rows_changes_nothing(runs):
    expected = compare(runs, target_fid=20.0)
    for seed in range(3):
        shuffled = runs.sample(frac=1, random_state=seed)
        found = compare(shuffled, target_fid=20.0)
        pd.testing.assert_frame_equal(found.table, expected.table)
        assert (found.sentence, found.notes) == (expected.sentence, expected.notes)


def test_frames_put_together_may_name_rows_twice(runs):
    halves = [runs[runs["seed"] == seed].reset_index(drop=True) for seed in range(3)]
    together = pd.concat(halves)
    assert together.index.has_duplicates
    pd.testing.assert_frame_equal(compare(together).table, compare(runs).table)


def test_a_seed_more_changes_only_what_it_belongs_to(runs, make_run, results):
    before = compare(runs).table.set_index("block")
    make_run("adaln", 3, (200.0, 50.0, 9.0))
    comparison = compare(load_results(results))
    after = comparison.table.set_index("block")
    assert after.loc["adaln", "seeds"] == 4
    assert after.loc["adaln", "fid"] == pytest.approx(np.mean([*FINAL["adaln"], 9.0]))
    compared = ["fid_difference", "fid_ratio", "p_value", "pairs"]  # over the seeds of both
    pd.testing.assert_frame_equal(after[compared], before[compared])
    assert "Blocks have different seeds" in " ".join(comparison.notes)


def test_areas_and_targets_are_means_over_seeds(runs):
    table = compare(runs, target_fid=30.0).table.set_index("block")
    for block, fids in FINAL.items():
        areas = [np.trapezoid([200, 50, fid], [400, 800, 1200]) / 800 for fid in fids]
        steps = [800 + 400 * np.log(50 / 30) / np.log(50 / fid) for fid in fids]
        seconds = [step / (40 + seed) for seed, step in enumerate(steps)]
        row = table.loc[block]
        assert row["fid_area"] == pytest.approx(np.mean(areas))
        assert row["reached_target"] == 3
        assert row["steps_to_target"] == pytest.approx(np.mean(steps))
        assert row["seconds_to_target"] == pytest.approx(np.mean(seconds))


def test_a_target_that_not_every_seed_reaches_has_no_mean(runs):
    table = compare(runs, target_fid=11.5).table.set_index("block")
    assert table["reached_target"].to_dict() == {"adaln-zero": 3, "adaln": 2, "in-context": 0}
    reached = table["steps_to_target"].notna()
    assert reached.to_dict() == {"adaln-zero": True, "adaln": False, "in-context": False}


def test_without_a_target_there_is_nothing_about_one(runs):
    assert not [name for name in compare(runs).table.columns if "target" in name]


def test_no_runs_are_an_error(runs):
    with pytest.raises(DitbenchError, match="no runs"):
        compare(runs.iloc[:0])
    assert split_groups(runs.iloc[:0]) == []


def test_like_runs_need_no_force_and_are_not_marked_by_it(runs):
    forced, plain = compare(runs, force=True), compare(runs)
    assert forced.forced == {}
    assert (forced.sentence, forced.notes) == (plain.sentence, plain.notes)
    assert forced.heading == plain.heading
    (group,) = compare_groups(runs)
    assert (group.apart, group.heading) == ({}, plain.heading)


def test_the_same_seed_twice_is_an_error_and_no_mean(runs):
    copy = runs[(runs["seed"] == 0)].assign(path="copy/" + runs["path"])
    with pytest.raises(DitbenchError, match=r"two runs of .*, seed 0"):
        compare(pd.concat([runs, copy]))


def test_times_of_runs_that_shared_a_cpu_are_left_out(make_run, results):
    for seed, workers in enumerate((1, 2, 4)):
        make_run("adaln", seed, rate=40.0, environment={"shared_cpu_workers": workers})
    runs = load_results(results)
    assert sorted(runs["shared_cpu_workers"].unique()) == [1, 2, 4]
    comparison = compare(runs, target_fid=50.0)
    times = ["train_seconds", "steps_per_second", "seconds_to_target"]
    assert comparison.table[times].isna().all(axis=None)
    assert comparison.table["peak_memory_bytes"].item() == 200 * 2**20
    said = "Times and speed are left out: runs shared a CPU (2 and 4 at a time)."
    assert comparison.notes.count(said) == 1
    alone = compare(runs[runs["shared_cpu_workers"] == 1])
    assert alone.table["steps_per_second"].item() == 40.0
    assert "shared" not in " ".join(alone.notes)


def test_the_heading_says_what_was_compared(runs):
    heading = compare(runs).heading
    for part in ("digits, 8x8x1", "64x4x4/2", "flow", "1,200 steps", "batches of 128",
                 "FID-2K", "euler, 25 sampling steps", "guidance 1"):  # fmt: skip
        assert part in heading


def test_a_look_of_an_earlier_plan_lowers_the_level(make_run, results):
    for block, fids in FINAL.items():
        for seed, fid in enumerate([*fids, 9.0 + len(block)]):
            planned = {"planned_seeds": 3 if seed < 3 else 4}
            make_run(block, seed, (200.0, fid), environment=planned)
    comparison = compare(load_results(results))
    assert comparison.verdict.looks == (3, 4)
    assert comparison.verdict.alpha == nominal_level((3, 4)) < 0.031
    assert "looks at 3 and 4 seeds" in " ".join(comparison.notes)
    assert "[97% CI" in render_comparisons([comparison], "md").replace("\\", "")


def test_a_plan_that_is_not_finished_names_no_winner(make_frame):
    clear = {"in-context": (11.0, 12.4, 10.1), "adaln-zero": (8.0, 9.0, 7.3)}
    comparison = compare(make_frame(clear, environment={"planned_seeds": 5}))
    assert comparison.verdict.best == "adaln-zero"
    assert comparison.verdict.winner is None
    assert re.match(
        r"No winner: adaln-zero leads .* but this is exploratory: "
        r"adaln-zero has 3 of 5 planned seeds, and another lacks some\.$",
        comparison.sentence,
    )
    assert "would name" not in " ".join(comparison.notes)
    (group,) = json.loads(render_comparisons([comparison], "json"))["groups"]
    assert not any(row["winner"] for row in group["rows"])
    assert (group["verdict"]["leader"], group["verdict"]["winner"]) == ("adaln-zero", None)


@pytest.mark.parametrize("planned", [True, 0, -3, 2.5, "5", None, [5], 2**40])
def test_a_number_that_is_none_is_no_plan(make_run, results, planned):
    make_run("adaln", 0, environment={"planned_seeds": planned})
    assert load_results(results)["planned_seeds"].isna().all()


def test_rows_are_ordered_as_the_verdict_ranks_them(make_frame):
    """By the geometric mean, where the arithmetic ones have another order."""
    frame = make_frame({"adaln": (1.0, 20.0, 9.0), "adaln-zero": (7.0, 8.0, 6.0)})
    comparison = compare(frame)
    assert comparison.table["fid"].tolist() == [10.0, 7.0]
    assert comparison.table["block"].tolist() == ["adaln", "adaln-zero"]
    assert comparison.verdict.leader == "adaln"


def test_skipped_updates_are_said(runs):
    assert "skipped updates" not in " ".join(compare(runs).notes)
    some = (runs["block"] == "adaln") & (runs["seed"] < 2)
    runs.loc[some, "skipped_updates"] = 58
    runs.loc[some, "steps"] = 60
    assert (
        "2 runs skipped updates, because loss or gradient were not finite "
        "(share of all updates: adaln up to 0.97)"
    ) in " ".join(compare(runs).notes)


def test_spikes_of_the_runs_reach_the_verdict(runs):
    spiked = (runs["block"] == "adaln") & (runs["seed"] < 2)
    runs.loc[spiked, "loss_spike"] = 1.5
    verdict = compare(runs).verdict
    assert {rival.block: rival.spiked for rival in verdict.rivals} == {"adaln": 2, "in-context": 0}


def test_what_a_further_seed_takes_is_of_all_blocks(runs):
    planning = compare(runs).planning
    assert planning.seconds == pytest.approx(
        sum(runs[runs["final"] & (runs["seed"] == 1)]["train_seconds"]) + 9, rel=0.01
    )
    assert planning.device == "cpu"
    runs.loc[runs["seed"] == 0, "device"] = "NVIDIA H200"
    assert np.isnan(compare(runs).planning.seconds)
