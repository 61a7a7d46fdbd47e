"""README.md and docs/results.md quote what `ditbench compare` prints for the reference runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "docs/results.md")}


@pytest.fixture
def printed(cli, monkeypatch):
    """The tables and the other lines of the commands in docs/results.md, as Markdown."""
    monkeypatch.chdir(ROOT)
    text = DOCUMENTS["docs/results.md"]
    commands = re.findall(r"^    ditbench (compare results/reference/.*)$", text, re.MULTILINE)
    assert len(commands) == 7
    # README.md leaves out the target.
    commands.append(commands[0].partition(" --target-fid")[0])
    outputs = [cli(*command.split(), "--format", "md").stdout for command in commands]
    tables = [table for output in outputs for table in quoted_tables(output)]
    return tables, {line for output in outputs for line in output.splitlines()}


def quoted_tables(text):
    return re.findall(r"^\| Block \| n \|.*\n(?:\|.*\n)+", text, re.MULTILINE)


def test_quoted_tables_and_sentences_are_those_of_the_reference_runs(printed):
    tables, lines = printed
    for name, text in DOCUMENTS.items():
        quoted = quoted_tables(text)
        assert len(quoted) == {"README.md": 2, "docs/results.md": 4}[name]
        assert [table for table in quoted if table not in tables] == []
        sentences = re.findall(r"^> (.+)$", text, re.MULTILINE)
        assert [sentence for sentence in sentences if sentence not in lines] == []
