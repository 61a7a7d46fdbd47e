"""A block in a file of one's own, through every command: docs/your-own.md."""

import csv
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ditbench.cli.commands import blocks
from ditbench.models import registry
from ditbench.plugins import lookup
from ditbench.plugins.check import CHECKS

DOCS = Path(__file__).parents[2] / "docs"
NAME = "ClassGateBlock"
PLAIN = """from ditbench.models.blocks.in_context import InContextBlock


class Mine(InContextBlock):
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example of the document, in a file."""
    text = (DOCS / "your-own.md").read_text("utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len(code.splitlines()) < 40
    path = tmp_path_factory.mktemp("own") / "class_gate.py"
    path.write_text(code)
    return path


@pytest.fixture(scope="module")
def trained(example, succeed, tiny, tmp_path_factory):
    """Results of the example beside adaln, two seeds each; read only."""
    out = tmp_path_factory.mktemp("own-results") / "results"
    succeed("run", "--block", f"{example}:{NAME},adaln", "--seeds", "2", *tiny, "--out", out)
    return out


@pytest.fixture
def own(trained, example, tmp_path):
    """A copy of the results, and of the example where its runs say that it is."""
    out = shutil.copytree(trained, tmp_path / "results")
    text = example.read_text()
    yield out
    example.write_text(text)


def one_run(out, seed=0):
    return next((out / "digits" / NAME).glob(f"seed{seed}-*"))


def clean(result, exit_code, *words, traceback=False):
    """One line and a hint; the user's own traceback before it where their code raised."""
    assert result.exit_code == exit_code, result.stderr
    assert isinstance(result.exception, SystemExit)
    lines = [line for line in result.stderr.splitlines() if line.startswith(("error: ", "help: "))]
    assert len(lines) == 2, result.stderr
    assert ("  File " in result.stderr) == traceback, result.stderr
    for word in words:
        assert word in result.stderr


def test_the_commands_of_the_document_do_what_it_says(
    example, trained, cli, succeed, tiny, elsewhere
):
    """check, run (of the fixture), compare, plot, bench."""
    text = (DOCS / "your-own.md").read_text("utf-8")
    assert {"blocks check", "run", "compare", "plot", "bench"} == {
        *re.findall(r"^    ditbench (blocks check|\w+)", text, re.MULTILINE)
    }
    shutil.copy(example, elsewhere / "class_gate.py")
    result = succeed("blocks", "check", f"./class_gate.py:{NAME}")
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", name] for name in CHECKS]
    assert all(len(line) <= 80 for line in lines)
    result = cli("compare", trained, "--baseline", "adaln", "--format", "csv")
    found = {row["block"] for row in csv.DictReader(result.stdout.splitlines())}
    assert found == {NAME, "adaln"}
    for kind in ("curve", "pareto", "samples"):
        succeed("plot", trained, "--kind", kind, "-o", f"{kind}.png")
    result = cli("bench", "--block", f"./class_gate.py:{NAME},adaln", "--model", "16x1x2/2",
               "--steps", "10", "--batch-size", "4", "--set", "eval.sampling_steps=2",
               "--device", "cpu", "--quiet", "--format", "json")  # fmt: skip
    assert [row["block"] for row in json.loads(result.stdout)] == [NAME, "adaln"], result.stderr


def test_a_run_records_what_it_was(example, trained):
    run = one_run(trained)
    sha256 = hashlib.sha256(example.read_bytes()).hexdigest()
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["block"] == NAME
    assert config["strategy"] == {"location": f"{example}:{NAME}", "sha256": sha256}
    assert (run / "strategy.py").read_bytes() == example.read_bytes()
    other = next((trained / "digits" / "adaln").glob("seed0-*"))
    assert "strategy" not in tomllib.loads((other / "config.toml").read_text())
    assert not (other / "strategy.py").exists()


def test_the_same_command_resumes_wherever_the_file_is(own, example, succeed, tiny, tmp_path):
    moved = shutil.copy(example, tmp_path / "elsewhere.py")
    (one_run(own) / "result.json").unlink()
    result = succeed("run", "--block", f"{moved}:{NAME}", "--seeds", "2", *tiny, "--out", own)
    assert "2 runs: 1 complete (skipped), 1 to go" in result.stderr
    assert "from step 20 of" in result.stderr
    assert len(list((own / "digits" / NAME).iterdir())) == 2


def test_an_edited_file_is_another_run_and_another_row(own, example, cli, succeed, tiny, elsewhere):
    (one_run(own) / "result.json").unlink()
    example.write_text(example.read_text() + "# edited\n")
    result = succeed("run", "--block", f"{example}:{NAME}", *tiny, "--out", own)
    assert f"warning: {NAME} has changed since {one_run(own).parent}" in result.stderr
    assert len(list((own / "digits" / NAME).glob("seed0-*"))) == 2
    runs = cli("compare", own, "--format", "json")
    names = [f"{NAME}@{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
             for path in (one_run(own, 1) / "strategy.py", example)]  # fmt: skip
    found = {row["block"] for row in json.loads(runs.stdout)["groups"][0]["rows"]}
    assert found == {"adaln", *names}
    succeed("compare", own, "--baseline", names[0])
    succeed("plot", own)
    new = next(path for path in (own / "digits" / NAME).glob("seed0-*")
               if (path / "strategy.py").read_text().endswith("# edited\n"))  # fmt: skip
    rows = json.loads(cli("diff", one_run(own, 1), new, "--json").stdout)["differences"]
    assert "strategy.sha256" in [row["key"] for row in rows]


def test_sampling_needs_the_file_as_it_was(own, example, cli, elsewhere):
    arguments = ("sample", one_run(own), "--per-class", "1", "--device", "cpu")
    lookup._EXTERNAL.clear()
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (0, "samples.png\n"), result.stderr
    example.write_text("raise SystemExit('executed')")
    clean(cli(*arguments), 2, "has changed: its SHA-256", f"{one_run(own)}/strategy.py is a copy")
    example.unlink()
    clean(cli(*arguments), 2, f"the code of {NAME} is gone", "pass --trust to execute it")
    lookup._EXTERNAL.clear()
    result = cli(*arguments, "--trust")
    assert (result.exit_code, result.stdout) == (0, "samples.png\n"), result.stderr
    (one_run(own) / "strategy.py").write_text("raise SystemExit('executed')")
    clean(cli(*arguments, "--trust"), 2, "strategy.py:ClassGateBlock has changed")


def test_reports_execute_nothing_and_import_no_torch(own, example, tmp_path):
    example.write_text("raise SystemExit('executed')")
    program = (
        "import sys\nfrom ditbench.cli import app\n"
        f"app(['compare', {str(own)!r}], standalone_mode=False)\n"
        f"app(['plot', {str(own)!r}, '-o', {str(tmp_path / 'a.png')!r}], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "executed" not in result.stderr
    assert (tmp_path / "a.png").is_file()


def test_flops_and_a_dry_run_take_it(example, cli, tiny):
    result = cli("flops", "--block", f"{example}:{NAME},none", "--model", "S/8", "--format", "json")
    assert [row["block"] for row in json.loads(result.stdout)] == [NAME, "none"]
    result = cli("run", "--block", f"{example}:{NAME}", *tiny, "--dry-run", "--json", "--quiet")
    assert json.loads(result.stdout)[0]["block"] == NAME, result.stderr


def test_its_options_are_set_as_those_of_others(cli, succeed, tiny, tmp_path):
    text = PLAIN + "    @classmethod\n    def options(cls, size):\n        return {'rank': 3}\n"
    (tmp_path / "mine.py").write_text(text)
    arguments = ("run", "--block", f"{tmp_path}/mine.py:Mine", *tiny, "--out", tmp_path / "results")
    succeed(*arguments, "--set", "options.rank=5")
    (run,) = (tmp_path / "results" / "digits" / "Mine").iterdir()
    assert tomllib.loads((run / "config.toml").read_text())["options"] == {"rank": 5}
    clean(cli(*arguments, "--set", "options.rnk=5"), 2, "unknown option 'rnk'", "rank")


IN_TRAINING = "        if torch.is_grad_enabled():\n            raise KeyError('lost')\n"
IN_PLACE = "        y = self.attn(x).sigmoid()\n        x = x + self.mlp(y)\n        y.zero_()\n"
FORWARD = "    def forward(self, x, c):\n"
FAULTS = {
    "a syntax error": ("class Mine(:\n", 2, ["mine.py:1: SyntaxError: invalid syntax"]),
    "an exception at import": ("1 / 0\n", 2, ["mine.py:1: ZeroDivisionError"]),
    "no such class": ("Mint = 3\n", 2, ["mine.py has no class Mine"]),
    "no block": ("class Mine: pass\n", 2, ["mine.py:Mine is not a subclass of Block"]),
    "an exception in forward": (PLAIN + FORWARD + "        return c.nothing\n", 2,
                                ["mine.py:6: AttributeError", "in forward", "return c.nothing"]),
    "nothing that is returned": (PLAIN + FORWARD + "        pass\n", 2, ["(block Mine)"]),
    "no rule for a parameter": (
        "import torch\n" + PLAIN + "    def __init__(self, spec, index):\n"
        "        super().__init__(spec, index)\n"
        "        self.k = torch.nn.Parameter(torch.ones(1))\n",
        1, ["no rule initialises blocks.0.k", "in the block's `initial`"]),
    "an exception in training": ("import torch\n" + PLAIN + FORWARD + IN_TRAINING
                                 + "        return super().forward(x, c)\n", 1,
                                 ["mine.py:8: KeyError: 'lost'", "(block Mine)"]),
    "what autograd refuses": (PLAIN + FORWARD + IN_PLACE + "        return x\n", 1,
                              ["modified by an inplace operation", "(block Mine)"]),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_file_can_do_wrong_is_an_error_and_an_exit_code(fault, cli, tiny, tmp_path):
    text, exit_code, words = FAULTS[fault]
    (tmp_path / "mine.py").write_text(text)
    place = f"{tmp_path}/mine.py:Mine"
    result = cli("run", "--block", f"none,{place}", *tiny, "--out", tmp_path / "results", "--quiet")
    clean(result, exit_code, *words, traceback="(block Mine)" in result.stderr)
    if "in forward" in words:
        assert "site-packages" not in result.stderr.partition("in forward")[0]


def test_a_missing_file_or_module_is_usage(cli, elsewhere):
    clean(cli("run", "--block", "./nowhere.py:Mine"), 2, "there is no file ./nowhere.py")
    clean(cli("flops", "--block", "nowhere.at.all:Mine"), 2, "there is no module 'nowhere'")
    clean(cli("bench", "--block", "./mine.py"), 2, "does not name a class", "./my_block.py:MyBlock")


def test_check_prints_one_line_per_check(cli, tmp_path):
    (tmp_path / "mine.py").write_text(PLAIN + FORWARD + "        return x, c\n")
    result = cli("blocks", "check", f"{tmp_path}/mine.py:Mine", "--format", "csv")
    clean(result, 1, "fails 1 of 11 checks: shapes; the others need it, and were not made")
    (row,) = csv.DictReader(result.stdout.splitlines())
    assert (row["check"], row["result"]) == ("shapes", "failed")
    assert "forward returns tuple, expected (5, 26, 32)" in row["detail"]
    assert row["help"]
    wrong = "    starts_as = 'identity'\n    initial = (('*zzz*', print),)\n"
    (tmp_path / "mine.py").write_text(PLAIN + wrong)
    result = cli("blocks", "check", f"{tmp_path}/mine.py:Mine", "--format", "csv")
    clean(result, 1, "fails 2 of 11 checks: weights, start\n")
    rows = list(csv.DictReader(result.stdout.splitlines()))
    lines = cli("blocks", "check", f"{tmp_path}/mine.py:Mine").stdout.split("\n\n")
    assert len(lines[0].splitlines()) == len(rows)
    assert max(map(len, lines[0].splitlines())) <= 80
    failures = [row for row in rows if row["help"]]
    assert [text.partition(": ")[0] for text in lines[1:]] == [row["check"] for row in failures]
    assert all(" ".join(text.split()).startswith(f"{row['check']}: {row['detail']} help: ")
               for text, row in zip(lines[1:], failures, strict=True))  # fmt: skip
    clean(cli("blocks", "check", "adlan"), 2, "unknown block 'adlan'", "adaln")
    clean(cli("blocks", "check", "adaln", "--format", "cvs"), 2, "unknown format")
    clean(cli("blocks", "--format", "csv", "check", "adaln"), 2, "options must follow 'check'")
    clean(cli("blocks", "check"), 2, "missing argument")


def test_installed_blocks_are_listed_and_broken_ones_named(
    cli, succeed, tiny, tmp_path, monkeypatch
):
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    info.joinpath("entry_points.txt").write_text(
        "[ditbench.blocks]\nclass-gate = theirs_listed:Mine\nbroken = theirs_broken:Mine\n"
        "adaln = theirs_listed:Mine\n"
    )
    (tmp_path / "theirs_listed.py").write_text(PLAIN + "    summary = 'theirs'\n")
    (tmp_path / "theirs_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(lookup, "_EXTERNAL", {})
    monkeypatch.setattr(blocks, "_row", blocks._row.__wrapped__)  # which is not cached
    monkeypatch.setattr(blocks, "MODEL", "S/8")
    result = succeed("blocks", "--format", "json")
    rows = json.loads(result.stdout)
    assert [row["block"] for row in rows] == [*registry.block_names(), "class-gate"]
    assert rows[-1]["conditioning"] == "theirs"
    assert "skipped: broken: " in result.stderr
    assert "warning: the block 'adaln' of package theirs is ignored" in result.stderr
    result = succeed("flops", "--block", "class-gate,adaln", "--model", "S/8", "--format", "csv")
    assert "warning: the block 'adaln' of package theirs is ignored" in result.stderr
    succeed("run", "--block", "class-gate", *tiny, "--out", tmp_path / "results")
    (run,) = (tmp_path / "results" / "digits" / "class-gate").iterdir()
    assert json.loads((run / "env.json").read_text())["strategy_package"] == "theirs 1"
    assert (run / "strategy.py").read_bytes() == (tmp_path / "theirs_listed.py").read_bytes()
    broken = cli("flops", "--block", "broken")
    clean(broken, 2, "theirs_broken.py:1: ZeroDivisionError", traceback=True)
