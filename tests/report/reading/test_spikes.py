import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditbench.errors import DitbenchError
from ditbench.report.reading.results import load_results
from ditbench.report.reading.spikes import LEAST, SCATTERS, SPAN, read_spike, worst_spike
from ditbench.report.statistics.compare import compare

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
COLUMNS = "step,images,seconds,loss,lr,grad_norm"


def falling(rows=200, noise=0.01, seed=0):
    """A loss as training has it, each row with some noise."""
    scatter = np.random.default_rng(seed).normal(1, noise, rows)
    return (0.03 + 0.9 * np.exp(-np.arange(rows) / 9)) * scatter


def log(losses, *, every=100):
    rows = [
        f"{every * number},1,1.0,{float(loss)!r},0.001,0.1"
        for number, loss in enumerate(losses, start=1)
    ]
    return "\n".join([COLUMNS, *rows, ""])


# Which row


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
def test_what_falls_and_scatters_is_no_spike(seed, noise):
    assert worst_spike(falling(noise=noise, seed=seed)) is None


@pytest.mark.parametrize("row", [60, 100, 200 - SPAN // 2])
@pytest.mark.parametrize("length", [1, 3, SPAN // 2])
def test_a_planted_spike_is_found_wherever_it_is_and_however_long(row, length):
    losses = falling()
    losses[row : row + length] *= np.linspace(3, 2, length)
    found, times = worst_spike(losses)
    assert found == row
    # The median of a window that holds the spike is a little higher.
    assert times == pytest.approx(3, rel=0.2)


@pytest.mark.parametrize("row", [SPAN // 2, 199])
def test_the_first_row_that_counts_and_the_last_one(row):
    losses = falling()
    losses[row] *= 3
    assert worst_spike(losses)[0] == row


def test_the_first_rows_do_not_count():
    losses = np.ones(200)
    losses[SPAN // 2 - 1] = 3
    assert worst_spike(losses) is None


def test_a_rise_that_stays_is_no_spike():
    assert worst_spike(np.r_[np.full(100, 1.0), np.full(100, 2.0)]) is None


@pytest.mark.parametrize("times", [LEAST - 0.01, LEAST + 0.01])
def test_it_takes_a_tenth_more(times):
    losses = np.ones(100)
    losses[50] = times
    assert (worst_spike(losses) is not None) == (times > LEAST)


@pytest.mark.parametrize("scatters", [0.9 * SCATTERS, 1.1 * SCATTERS])
def test_it_takes_ten_times_the_usual_deviation(scatters):
    losses = np.where(np.arange(101) % 2, 0.95, 1.05)
    losses[::3] = 1.0  # the median of any window
    times = losses / pd.Series(losses).rolling(SPAN, center=True).median()
    usual = (times - 1).abs().median()
    losses[50] = 1 + scatters * usual
    assert (worst_spike(losses) is not None) == (scatters > SCATTERS)


def test_the_median_is_pandas():
    losses = falling(noise=0.02)
    losses[77] = 0.3
    row, times = worst_spike(losses)
    assert row == 77
    assert times == losses[77] / pd.Series(losses).rolling(SPAN, center=True).median()[77]


def test_few_rows_have_no_spike():
    losses = np.ones(SPAN)
    losses[SPAN // 2] = 9
    assert worst_spike(losses) == (SPAN // 2, 9)
    assert worst_spike(losses[1:]) is None


def test_rows_without_a_good_update_are_passed_over():
    losses = falling()
    losses[120] = 1.0
    losses[[50, 119, 121]] = math.nan
    assert worst_spike(losses)[0] == 120


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_a_loss_that_is_not_positive_has_no_spike(level):
    losses = np.full(100, level)
    losses[50] = 5
    assert worst_spike(losses) is None


def test_infinitely_many_times_is_a_spike():
    losses = np.full(100, 1e-300)
    losses[50] = 1e300
    assert worst_spike(losses) == (50, math.inf)


@given(
    st.lists(st.floats(0.5, 2.0), min_size=SPAN, max_size=120),
    st.sampled_from([2.0**-20, 0.25, 1.0, 2.0**30]),
)
def test_the_unit_of_a_loss_does_not_matter(losses, unit):
    assert worst_spike([unit * loss for loss in losses]) == worst_spike(losses)


# Out of a file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train.csv"


def test_a_spike_is_reported_with_the_step_of_its_row(path):
    losses = np.ones(60)
    losses[40] = 2.5
    path.write_text(log(losses))
    assert read_spike(path) == {"loss_spike": 2.5, "loss_spike_step": 4100.0}


def test_no_spike_no_rows_and_no_log_are_alike(path):
    found = [read_spike(path)]
    for losses in (np.ones(60), ()):
        path.write_text(log(losses))
        found.append(read_spike(path))
    assert np.isnan([[*each.values()] for each in found]).all()


WHOLE = log(np.ones(60))
DAMAGED = {
    "empty": "",
    "no header": "\n",
    "no newline": WHOLE[:-1],
    "cut": WHOLE[:-9] + "\n",
    "no loss": WHOLE.replace("loss", "los"),
    "no number": WHOLE.replace("1.0,1.0", "1.0,one", 1),
    "a short row": WHOLE + "6100,1\n",
    "a short row and a long one": WHOLE + "1,1,1\n1,1,1,1,1,1,1,1,1\n",
    "bytes that are not text": "step,loss\n1,\udcff\n",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_log_is_named(path, case):
    path.write_text(DAMAGED[case], errors="surrogateescape")
    with pytest.raises(DitbenchError, match=r"^train\.csv is truncated or malformed$"):
        read_spike(path)


# In a comparison


def spiked(run, times):
    losses = np.ones(60)
    losses[40] = times
    run.train.write_text(log(losses))
    run.finish(json.loads(run.result.read_text()))


def test_runs_with_spikes_are_counted_and_named(make_run, results):
    for block in ("in-context", "adaln"):
        for seed in range(3):
            run = make_run(block, seed, (30.0, 9.0 + seed))
            if (block, seed) in {("adaln", 0), ("adaln", 2), ("in-context", 1)}:
                spiked(run, 2.0 + seed)
    comparison = compare(load_results(results))
    assert (
        "The loss of 3 of 6 runs had a spike (in-context seed 1, adaln seeds 0, 2; the worst 4.0 "
        "times the loss around it), which may have raised their FID: "
        "--set train.grad_clip=0.1, or a lower --lr, can keep spikes small."
    ) in comparison.notes
    spikes = comparison.table.set_index("block")["loss_spikes"]
    assert spikes.to_dict() == {"adaln": 2, "in-context": 1}


def test_clipping_is_not_suggested_to_runs_that_clip(make_run, results):
    spiked(make_run("adaln", 0, train__grad_clip=0.1), 3.0)
    notes = " ".join(compare(load_results(results)).notes)
    assert ": a lower --lr can keep spikes small." in notes


def test_runs_without_spikes_say_nothing_of_them(make_run, results):
    make_run("adaln")
    comparison = compare(load_results(results))
    assert "spike" not in " ".join(comparison.notes)
    assert comparison.table["loss_spikes"].tolist() == [0]


def test_a_run_with_a_damaged_log_is_skipped_by_name(make_run, results):
    make_run("adaln")
    broken = make_run("adaln-zero", schema=1)
    broken.train.write_text("step,loss\n1")
    frame = load_results(results)
    assert frame["block"].unique().tolist() == ["adaln"]
    assert frame.attrs["skipped"] == [(str(broken.path), "train.csv is truncated or malformed")]


def test_of_the_reference_runs_some_of_ddpm_had_spikes():
    """Those that docs/appendix/cifar10-pilot.md names; the bounds keep them from all other runs."""
    final = load_results(REFERENCE / "pilot").query("final and loss_spike.notna()")
    found = [
        (*Path(path).relative_to(REFERENCE / "pilot").parts[:2], seed, step)
        for path, seed, step in zip(
            final["path"], final["seed"], final["loss_spike_step"], strict=True
        )
    ]
    assert sorted(found) == [
        ("cifar10-ddpm", "adaln", 0, 16_400),
        ("cifar10-ddpm", "adaln", 1, 17_700),
        ("cifar10-ddpm", "adaln-zero", 0, 9_400),
        ("cifar10-ddpm", "adaln-zero", 2, 10_100),
        ("cifar10-ddpm", "in-context", 2, 4_500),
        ("cifar10-ddpm-clip", "adaln", 0, 18_400),
        ("cifar10-ddpm-clip", "adaln", 2, 16_100),
    ]
