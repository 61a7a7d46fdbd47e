"""docs/appendix/cifar10.md: what it says beside what `ditbench compare` prints."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ditbench.report.reading.results import load_results

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/appendix/cifar10.md").read_text("utf-8")
SEEDS = (40, 41, 42)


@pytest.fixture(scope="module")
def final():
    runs = load_results(ROOT / "results/reference/cifar10-all")
    return runs[runs["final"]].set_index(["block", "seed"])


def test_the_table_of_each_seed_is_that_of_the_runs(final):
    table = PAGE[PAGE.index("| EfficientNet-Lite0, 40 |") :].splitlines()[2 : 2 + 21]
    means = final["fid"].groupby("block").mean().sort_values()
    assert [line.split(" | ")[0].removeprefix("| ") for line in table] == list(means.index)
    for line in table:
        block, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows = final.loc[block].loc[list(SEEDS)]
        assert cells[:3] == [f"{fid:.2f}" for fid in rows["fid"]]
        assert cells[3:6] == [f"{fid:.1f}" for fid in rows["fid_efficientnet_lite0"]]
        assert cells[6] == f"{rows['label_accuracy'].mean():.3f}"
        spikes = rows["loss_spike_step"].dropna()
        assert cells[7] == ", ".join(f"{int(at):,} (seed {seed})" for seed, at in spikes.items())


def test_the_second_reading_is_what_its_code_computes(monkeypatch):
    """The scatter is that of a least-squares fit of block and seed."""
    monkeypatch.chdir(ROOT)
    section = PAGE[PAGE.index("### A second reading") :]
    found = {}
    exec(re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0], found)
    means, apart, scatter = found["means"].sort_values(), found["apart"], found["scatter"]
    levene = stats.levene(*found["rest"].to_numpy()).pvalue
    said = f"p = {levene:.2f}", f"is {np.expm1(scatter):.1%}", f"are {np.expm1(apart):.1%} apart"
    assert [text for text in said if text not in section] == []
    near = {block: list(means.index[abs(means - means[block]) < apart]) for block in means.index}
    order = list(means.index)
    assert near["joint"] == ["joint", "shift-skip", "u-vit"]
    assert near["shift-skip"] == ["joint", "shift-skip", "u-vit", "adaln-zero"]
    assert near["adaln-zero"] == order[1 : order.index("adaln-shared")]
    assert sorted(near["in-context"]) == [
        "adaln", "adaln-zero-init", "cross-attention", "in-context", "in-context-multi", "time-qkv"
    ]  # fmt: skip

    blocks, seeds = found["logs"].shape
    design = np.hstack([np.repeat(np.eye(blocks), seeds, 0), np.tile(np.eye(seeds), (blocks, 1))])
    _, squares, rank, _ = np.linalg.lstsq(design[:, :-1], found["logs"].to_numpy().ravel())
    assert scatter == pytest.approx(np.sqrt(squares[0] / (blocks * seeds - rank)))
    q = (means["adaln-zero"] - means["joint"]) / (scatter / np.sqrt(seeds))
    p = stats.studentized_range.sf(q, blocks, found["freedom"])
    assert f"(from adaln-zero with p = {p:.3f})" in section
