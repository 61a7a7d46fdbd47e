"""The documents quote what `ditbench compare` prints for the reference runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = {
    "README.md": 1,
    "docs/reading-a-result.md": 1,
    "docs/results.md": 4,
    "docs/your-images.md": 1,
    "docs/appendix/digits.md": 1,
    "docs/appendix/cifar10.md": 0,  # sentences alone
    "docs/appendix/cifar10-pilot.md": 2,
}
DOCUMENTS = {name: (ROOT / name).read_text("utf-8") for name in TABLES}


@pytest.fixture
def printed(cli, monkeypatch):
    """The tables and the other lines of the commands in the documents, as Markdown."""
    monkeypatch.chdir(ROOT)
    command = re.compile(r"^    ditbench (compare results/reference/.*)$", re.MULTILINE)
    commands = {found for text in DOCUMENTS.values() for found in command.findall(text)}
    assert len(commands) == 11
    outputs = [cli(*command.split(), "--format", "md").stdout for command in sorted(commands)]
    tables = [table for output in outputs for table in quoted_tables(output)]
    return tables, {line for output in outputs for line in output.splitlines()}


def quoted_tables(text):
    return re.findall(r"^\| Block \| n \|.*\n(?:\|.*\n)+", text, re.MULTILINE)


def test_quoted_tables_and_sentences_are_those_of_the_reference_runs(printed):
    tables, lines = printed
    for name, text in DOCUMENTS.items():
        quoted = quoted_tables(text)
        assert len(quoted) == TABLES[name]
        assert [table for table in quoted if table not in tables] == []
        sentences = re.findall(r"^> (.+)$", text, re.MULTILINE)
        assert [sentence for sentence in sentences if sentence not in lines] == []
