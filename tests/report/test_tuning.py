"""Sweeps that were made up: which rate is chosen, and what must keep one from being chosen."""

import json
import math
import os

import pytest

from ditbench.config import RunConfig
from ditbench.errors import DitbenchError
from ditbench.files import read_json
from ditbench.report.reading.metrics import FIRST_METRICS
from ditbench.report.reading.results import load_results
from ditbench.report.reading.sweeps import Budget, read_sweeps
from ditbench.report.tables.render import render
from ditbench.report.tables.sweeps import tuning_columns, tuning_row
from ditbench.report.tuning import choose
from ditbench.rundir import RunDirectory

HINT = "tune {}"
RATES = (1e-4, 1e-3, 1e-2)
FEATURES = {"metrics__features": "efficientnet-lite0"}
FEW = {**FEATURES, "real_images": 180}


@pytest.fixture
def sweep(make_run, results):
    """Make the runs of one block's sweep: FIDs in the order of its rates, for each seed."""

    def make(block, *fids_by_seed, rates=RATES, steps=240, first_seed=1000, grid=None, **settings):
        kids = settings.pop("kids", None)
        seeds = [first_seed + number for number in range(len(fids_by_seed))]
        for seed, fids in zip(seeds, fids_by_seed, strict=True):
            for rate, fid, kid in zip(rates, fids, kids or [None] * len(fids), strict=True):
                if fid is None:
                    continue
                run = make_run(
                    block, seed, (1.0 if math.isinf(fid) else fid,),
                    name=f"tune/digits/{block}/seed{seed}-{rate}-{steps}",
                    environment={"sweep": grid or {"rates": rates, "seeds": seeds}},
                    train__lr=rate, budget__steps=steps, kid=kid, **settings,
                )  # fmt: skip
                if math.isinf(fid):
                    run.result.unlink()
                    run.write_failure({"reason": "diverged"})
        return read_sweeps(results / "tune")[0]

    return make


def remark(sweeps):
    (row,) = map(tuning_row, sweeps)
    return row["remark"]


def config(block="adaln", seed=0, **settings):
    return RunConfig().with_values(block=block, seed=seed, **settings)


def test_the_rate_of_the_lowest_mean_fid_is_chosen(sweep):
    sweeps = sweep("adaln", (20.0, 12.0, 9.0), (20.0, 10.0, 15.0))
    chosen = choose([config(), config(seed=1)], sweeps, HINT)["adaln"]
    assert (chosen.best, chosen.mean(1e-3), chosen.seeds) == (1e-3, 11.0, (1000, 1001))
    assert chosen.budget == Budget("steps", 240)


def test_where_images_are_few_the_lowest_mean_kid_is_chosen(sweep):
    sweeps = sweep("adaln", (9.0, 20.0, math.inf), kids=(0.2, -0.001, 0.1), **FEW)
    assert choose([config(**FEATURES)], sweeps, HINT)["adaln"].best == 1e-3
    assert sweeps[0].origin("there")["tuned_lr"]["metric"] == "kid"
    assert sweeps[0].few.startswith("180 real images and 2,000 samples are few for FID")
    row = tuning_row(sweeps[0])
    text = render([row], tuning_columns(sweeps, for_people=True), "md")
    assert "KID-2K ↓ lr=0.001 |" in text
    assert "| 0.200 | **-0.00100** | diverged |" in text
    assert {"kid_at_0.001": -0.001, "kid_at_0.01": math.inf}.items() <= row.items()


@pytest.mark.parametrize("damage", ["no KID", "two versions"])
def test_without_a_kid_of_all_runs_fid_decides(sweep, results, damage):
    sweep("adaln", (9.0, 20.0, 30.0), kids=(0.2, 0.1, 0.3), **FEW)
    run = RunDirectory(sorted(results.glob("tune/digits/adaln/*"))[0])
    result = read_json(run.result)
    if damage == "no KID":
        run.evaluations.write_text(run.evaluations.read_text().replace("0.2,", ","))
    else:
        described = [each.model_dump() for each in FIRST_METRICS]
        described[1]["version"] = 2
        result["metrics"] = described
    run.finish(result)
    (only,), skipped = read_sweeps(results / "tune")
    assert (only.best, only.metric.name, only.few, skipped) == (1e-4, "fid", "", [])


def test_a_rate_that_diverged_with_one_seed_is_not_chosen(sweep):
    sweeps = sweep("adaln", (20.0, 12.0, 1.0), (20.0, 10.0, math.inf))
    assert choose([config()], sweeps, HINT)["adaln"].best == 1e-3


def test_of_equal_rates_the_lower_is_chosen(sweep):
    assert sweep("adaln", (5.0, 5.0, 5.0))[0].best == 1e-4


def test_blocks_are_chosen_for_one_by_one(sweep):
    sweep("adaln", (20.0, 12.0, 9.0))
    sweeps = sweep("in-context", (5.0, 12.0, 9.0))
    chosen = choose([config("adaln"), config("in-context")], sweeps, HINT)
    assert {block: one.best for block, one in chosen.items()} == {"adaln": 1e-2, "in-context": 1e-4}


def refusal(*arguments):
    with pytest.raises(DitbenchError) as raised:
        choose(*arguments, HINT)
    return raised.value


def test_a_block_that_was_not_tuned_is_named(sweep):
    sweeps = sweep("adaln", (20.0, 12.0, 9.0))
    error = refusal([config(), config("joint"), config("u-vit")], sweeps)
    assert "tuned for joint,u-vit under this configuration" in error.message
    assert "another one" not in error.message
    assert (error.hint, error.exit_code) == ("tune joint,u-vit", 2)


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        ({"train__batch_size": 64}, "train.batch_size 128"),
        ({"budget__seconds": 60.0}, "a budget of 240 steps"),
        ({"eval__samples": 500, "data__digest": "d"}, "data.digest auto, eval.samples 2000"),
    ],
)
def test_a_sweep_under_another_configuration_does_not_count(sweep, wanted, difference):
    sweep("adaln", (20.0, 12.0, 9.0), model__depth=9)  # less alike
    sweeps = sweep("adaln", (20.0, 12.0, 9.0), steps=240)
    error = refusal([config(**wanted)], sweeps)
    assert f"under this configuration (a sweep has {difference})" in error.message


def test_a_sweep_that_is_not_finished_chooses_nothing(sweep):
    sweeps = sweep("adaln", (20.0, 12.0, None))
    error = refusal([config()], sweeps)
    assert "adaln is not finished: 1 of 3 runs are missing" in error.message
    assert "--lr 0.01, seed 1000" in error.message
    assert error.hint == "tune adaln --lr 0.0001,0.001,0.01 --seeds 1000,"
    assert remark(sweeps) == "not finished: 1 of 3 runs missing"


def test_a_rate_that_lacks_a_seed_of_the_others_chooses_nothing(sweep):
    sweep("adaln", (20.0, 12.0, 9.0), (20.0, 12.0, 9.0))
    sweeps = sweep("adaln", (8.0,), rates=(3e-2,))
    assert sweeps[0].missing == [(3e-2, 1001)]
    assert "1 of 8 runs are missing" in refusal([config()], sweeps).message


def test_a_sweep_may_be_widened(sweep):
    sweep("adaln", (20.0, 12.0, 9.0))
    (wider,) = sweep("adaln", (8.0, 10.0), rates=(3e-2, 0.1))
    assert (wider.rates, wider.best) == ((*RATES, 3e-2, 0.1), 3e-2)


def test_a_block_that_diverged_everywhere_has_no_rate(sweep):
    error = refusal([config()], sweep("adaln", (math.inf,) * 3))
    said = "adaln diverged at every learning rate of its sweep, from 0.0001 to 0.01"
    assert (error.message, error.exit_code) == (said, 1)


@pytest.mark.parametrize("seed", [1000, 1001])
def test_a_seed_of_the_sweep_is_refused(sweep, seed):
    sweeps = sweep("adaln", (20.0, 12.0, 9.0), (20.0, 12.0, 9.0))
    error = refusal([config(seed=0), config(seed=seed)], sweeps)
    assert f"seed {seed} was used to choose the learning rate of adaln" in error.message
    choose([config(seed=1002)], sweeps, HINT)


def test_blocks_that_were_tuned_unlike_are_refused(sweep):
    sweep("adaln", (20.0, 12.0, 9.0))
    sweeps = sweep("in-context", (20.0, 12.0, 9.0), steps=600)
    error = refusal([config("adaln"), config("in-context")], sweeps)
    assert "adaln with 240 steps, seed 1000; in-context with 600 steps" in error.message
    sweep("joint", (20.0, 12.0, 9.0), first_seed=1005)
    sweeps = sweep("u-vit", (20.0, 12.0, 9.0))
    error = refusal([config("joint"), config("u-vit")], sweeps)
    assert "joint with 240 steps, seed 1005; u-vit with 240 steps, seed 1000" in error.message


def test_of_several_budgets_the_nearest_that_all_blocks_have_is_taken(sweep):
    for steps, fids in ((100, (1.0, 2.0, 3.0)), (1000, (3.0, 1.0, 2.0)), (9000, (3.0, 2.0, 1.0))):
        sweeps = sweep("adaln", fids, steps=steps)
    for steps, best in ((120, 1e-4), (1200, 1e-3), (10**6, 1e-2)):
        assert choose([config(budget__steps=steps)], sweeps, HINT)["adaln"].best == best
    assert choose([config(budget__steps=3000)], sweeps, HINT)["adaln"].best == 1e-2  # as near
    sweeps = sweep("joint", (1.0, 2.0, 3.0), steps=9000)
    chosen = choose([config(budget__steps=120), config("joint", budget__steps=120)], sweeps, HINT)
    assert {one.budget.amount for one in chosen.values()} == {9000}


def test_a_damaged_run_is_named_and_missing(sweep, results):
    sweep("adaln", (20.0, 12.0, 9.0))
    first, second, _ = sorted(results.glob("tune/digits/adaln/*"))
    (first / "eval.csv").write_text("nonsense")
    (second / "config.toml").write_text("[")
    sweeps, skipped = read_sweeps(results / "tune")
    assert {path for path, _ in skipped} == {str(first), str(second)}
    assert len(sweeps[0].missing) == 2


@pytest.mark.parametrize("grid", ["x", {"rates": 3, "seeds": [True]}, {"rates": ["a"]}, None])
def test_a_damaged_note_of_the_grid_is_no_grid(sweep, grid):
    (only,) = sweep("adaln", (20.0, 12.0, 9.0), grid=grid or {})
    assert (only.rates, only.seeds) == (RATES, (1000,))


@pytest.mark.parametrize("spoil", [os.mkfifo, os.mkdir, lambda path: path.write_text("[" * 10**5)])
def test_a_damaged_environment_is_named_and_not_waited_for(sweep, results, spoil):
    sweep("adaln", (20.0, 12.0, 9.0))
    for path in results.glob("tune/digits/adaln/*/env.json"):
        path.unlink()
        spoil(path)
    (only,), skipped = read_sweeps(results / "tune")
    assert (only.best, only.rates, len(skipped)) == (None, RATES, 3)


def test_without_a_directory_there_are_no_sweeps(tmp_path):
    assert read_sweeps(tmp_path / "nowhere") == ([], [])


def test_sweeps_do_not_mix_with_the_comparison(sweep, make_run, results):
    sweep("adaln", (20.0, 12.0, 9.0))
    make_run("adaln", 0)
    assert set(load_results(results)["seed"]) == {0}
    assert set(load_results(results.parent)["seed"]) == {0}
    for place in ("tune", "tune/digits", "tune/digits/adaln"):
        assert set(load_results(results / place)["seed"]) == {1000}


def test_a_preset_of_that_name_is_no_sweep(make_run, results):
    make_run("adaln", 0, preset="tune")
    assert len(load_results(results)) == 3


# The table


def test_the_table_marks_the_best_of_each_row(sweep):
    sweep("adaln", (20.0, 12.0, math.inf))
    sweeps = sweep("in-context", (5.0, 12.0, None))
    rows, columns = list(map(tuning_row, sweeps)), tuning_columns(sweeps, for_people=True)
    header, _, first, second = render(rows, columns, "md").splitlines()
    assert header == (
        "| Block | FID-2K ↓ lr=0.0001 | FID-2K ↓ lr=0.001 | FID-2K ↓ lr=0.01 | Learning rate "
        "| Remark |"
    )
    assert first == "| adaln | 20.00 | **12.00** | diverged | 0.001 | – |"
    assert second == "| in-context | 5.00 | 12.00 | – | – | not finished: 1 of 3 runs missing |"


def test_programs_get_plain_numbers(sweep):
    sweeps = sweep("adaln", (20.25, 12.0, math.inf))
    columns = tuning_columns(sweeps, for_people=False)
    (row,) = json.loads(render(list(map(tuning_row, sweeps)), columns, "json"))
    assert row == {
        "block": "adaln", "lr": 1e-3, "fid_at_0.0001": 20.25, "fid_at_0.001": 12.0,
        "fid_at_0.01": None, "diverged": "0.01", "missing": 0, "seeds": "1000",
        "budget": "240 steps", "samples": 2000, "remark": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fids", "expected"),
    [
        ((1.0, 2.0, 3.0), "best at the edge: widen the grid below 0.0001"),
        ((3.0, 2.0, 1.0), "best at the edge: widen the grid above 0.01"),
        ((3.0, 1.0, 2.0), None),
        ((math.inf,) * 3, "diverged at every rate: try lower ones"),
        ((3.0, None, 2.0), "not finished: 1 of 3 runs missing"),
        ((1.0,), "only one rate: nothing was chosen"),
    ],
)
def test_what_keeps_a_choice_from_being_one_is_remarked(sweep, fids, expected):
    assert remark(sweep("adaln", fids, rates=RATES[: len(fids)])) == expected


def test_budgets_in_words():
    assert [str(Budget(unit, amount)) for unit, amount in
            (("steps", 1200), ("flops", 1e16), ("seconds", 90.0))] == [
        "1,200 steps", "10 PFLOPs", "90 s"]  # fmt: skip
