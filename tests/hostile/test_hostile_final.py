"""Damaged final scores: `compare` names the run, and compares the others as without it."""

import json
from pathlib import Path
from statistics import fmean

import pytest
from damage import cut, edit, huge, instead, linked, pipe, removed, replaced, write
from run_copies import write_copy

from ditbench.report.reading.results import load_results


def final_row(change):
    """Change the last row of final.csv, a table of its column names and cells."""

    def damage(text):
        header, *rows = [line.split(",") for line in text.splitlines()]
        cells = dict(zip(header, rows[-1], strict=True))
        cells.update(change)
        return "\n".join(",".join(row) for row in [header, *rows[:-1], cells.values()]) + "\n"

    return edit("final.csv", damage)


# What is done to a run with two draws, and what `compare` says of it.
FINAL_DAMAGE = {
    "no final.csv": (removed("final.csv"), "fid is 8."),
    "a draw too few": (edit("final.csv", lambda text: "\n".join(text.split("\n")[:2]) + "\n"),
                       "result.json"),
    "a draw too many": (edit("final.csv", lambda text: text + text.splitlines()[-1] + "\n"),
                        "draw 1 is not 2"),
    "a draw missing": (final_row({"draw": "2"}), "draw 2 is not 1"),
    "a draw without number": (final_row({"draw": ""}), "draw None is not 1"),
    "a draw of text": (final_row({"draw": "one"}), "draw 'one' is not 1"),
    "no column of draws": (replaced("final.csv", "draw,", "drew,"), "draw None is not 0"),
    "another step": (final_row({"step": "1100"}), "step of draw 1 is 1100, not 1200"),
    "other features": (final_row({"features": "inception"}), "features of draw 1 is 'inception'"),
    "other steps": (final_row({"sampling_steps": "250"}), "sampling_steps of draw 1 is 250"),
    "another FID": (final_row({"fid_1k": "1.5"}), "in final.csv"),
    "no FID": (final_row({"fid_1k": ""}), "fid_1k is missing"),
    "an infinite FID": (final_row({"fid_1k": "inf"}), "final.csv: fid_1k"),
    "another first draw": (edit("final.csv", lambda text: text.replace(
        "8.215801520679861", "8.3", 1)), "draw 0 is not the last row of eval.csv"),
    "no bytes": (write("final.csv", b""), "final.csv"),
    "random bytes": (write("final.csv", bytes(range(256)) * 9), "final.csv"),
    "cut to half": (cut("final.csv", 0.5), "final.csv"),
    "a directory": (instead("final.csv", Path.mkdir), "final.csv"),
    "a pipe": (pipe("final.csv"), "final.csv"),
    "a device": (linked("final.csv", "/dev/zero"), "final.csv"),
    "a link to itself": (linked("final.csv", "final.csv"), ""),
    "ten gigabytes": (huge("final.csv"), "too large"),
    "other final steps": (
        replaced("config.toml", "cfg_scale", "final_sampling_steps = 9\ncfg_scale"),
        "sampling_steps of draw 0 is 25, not 9",
    ),
    "final steps that are text": (
        replaced("config.toml", "cfg_scale", "final_sampling_steps = 'x'\ncfg_scale"), "not 'x'"),
}  # fmt: skip


def with_draws(reference, results, name, seed):
    """A copy of a run whose final model was scored twice."""
    run = write_copy(reference, results, name, seed)
    header, *_, last = (run / "eval.csv").read_text().splitlines()
    second = last.replace("8.215801520679861", "8.784198479320139")
    assert second != last
    rows = [f"draw,{header}", f"0,{last}", f"1,{second}"]
    (run / "final.csv").write_text("\n".join(rows) + "\n")
    result = json.loads((run / "result.json").read_text())
    result["final"]["fid_1k"] = fmean([8.215801520679861, 8.784198479320139])
    (run / "result.json").write_text(json.dumps(result))
    return run


def test_a_run_with_two_draws_is_read(reference, tmp_path):
    with_draws(reference, tmp_path, "drawn", 1)
    final = load_results(tmp_path).iloc[-1]
    assert (final["fid"], final["draws"]) == (8.5, 2)


@pytest.mark.parametrize("name", FINAL_DAMAGE)
def test_a_damaged_final_score_is_named(check_damaged, name):
    check_damaged(with_draws, *FINAL_DAMAGE[name])
