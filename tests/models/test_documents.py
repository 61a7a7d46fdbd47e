"""What the documents say, compared with the code."""

import re
from pathlib import Path

import pytest
import torch

from ditbench.models.blocks.base import Conditioning
from ditbench.models.cost import count
from ditbench.models.dit import DiT
from ditbench.models.registry import block_class, block_names, group_names
from ditbench.models.sizes import ModelSize, parse_model

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ditbench"
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCKS = (DOCS / "strategies.md").read_text("utf-8")
HOW_IT_WORKS = (DOCS / "how-it-works.md").read_text("utf-8")


def rows():
    """The cells of the table of blocks, by block."""
    lines = re.findall(r"^\| `([\w-]+)` \|(.*) \|$", BLOCKS, re.MULTILINE)
    cells = {name: [cell.strip() for cell in rest.split("|")] for name, rest in lines}
    return {name: found for name, found in cells.items() if len(found) == 8}


def test_every_block_has_a_row_and_a_section_with_a_diagram():
    assert list(rows()) == block_names()
    sections = dict(re.findall(r"^### `([\w-]+)`\n(.*?)(?=^##)", BLOCKS, re.DOTALL | re.MULTILINE))
    assert sections.keys() == set(block_names())
    assert all("```mermaid" in text and "When:" in text for text in sections.values())
    assert all(f"`{group}`" in BLOCKS for group in group_names())


@pytest.mark.parametrize("block", block_names())
def test_a_row_agrees_with_the_class_and_its_cost(block):
    _how, final, own, start, *costs = rows()[block]
    kind = block_class(block)
    assert final.startswith("adaptive" if kind.adaptive_final_layer else "plain")
    assert bool(own) == (kind.own_tokens != "none")
    assert start == kind.starts_as
    for size, documented in zip(("S/2", "XL/2"), (costs[:2], costs[2:]), strict=True):
        cost = count(kind, size=parse_model(size), height=32, width=32, channels=4)
        assert documented == [f"{cost.parameters / 1e6:.1f}", f"{cost.gmacs:.2f}"], size


def normalised(code):
    return " ".join(code.split())


def quotations():
    """The code in how-it-works.md: each block as its parts between lines of `...`."""
    blocks = re.findall(r"```python\n(.*?)```", HOW_IT_WORKS, re.DOTALL)
    return [re.split(r"^\s*\.\.\.$", block, flags=re.MULTILINE) for block in blocks]


@pytest.mark.parametrize("parts", quotations(), ids=lambda parts: parts[0].splitlines()[0])
def test_quoted_code_is_in_the_source(parts):
    """All parts of a quotation occur in one file, in this order."""
    pattern = ".*".join(re.escape(normalised(part)) for part in parts)
    sources = (normalised(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py"))
    assert any(re.search(pattern, source) for source in sources)


def test_named_files_exist():
    paths = set(re.findall(r"`([\w/]+(?:/|\.py))`", HOW_IT_WORKS))
    assert len(paths) > 10
    assert [path for path in paths if not any((at / path).exists() for at in (PACKAGE, ROOT))] == []


def anchors(text):
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *PAGES], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_links_between_documents_lead_somewhere(document):
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)", document.read_text("utf-8"))
    for path, anchor in links:
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text("utf-8")), f"{path}#{anchor}"


def test_every_page_is_in_the_navigation_once():
    """The builder does not complain about a page that is missing there."""
    entries = re.findall(
        r"^ +- .*: ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE
    )
    assert sorted(entries) == [page.relative_to(DOCS).as_posix() for page in PAGES]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= 900


def examples():
    """The code of a block of one's own, with torch's operations and with fused ones."""
    text = (DOCS / "your-own.md").read_text("utf-8")
    plain, forward = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:2]
    assert len(plain.splitlines()) < 40
    start = plain.index("    def forward")
    assert forward.startswith("    def forward")
    return [plain, plain[:start] + forward]


def test_the_example_of_a_new_block_is_one_in_both_forms():
    size = ModelSize(hidden_size=32, depth=2, num_heads=4, patch_size=2)
    shape = {"height": 8, "width": 8, "channels": 1, "out_channels": 1, "num_classes": 10}
    outputs = []
    for code in examples():
        names = {}
        exec(code, names)
        model = DiT(names["ClassGateBlock"], size, **shape)
        x = torch.randn(3, 16, 32, generator=torch.Generator().manual_seed(0))
        c = Conditioning.of(None, x[:, 0])
        assert torch.equal(model.block_class.run_blocks(model.blocks, x, c), x)
        draws = torch.Generator().manual_seed(1)
        for weight in model.parameters():
            weight.data.normal_(std=0.1, generator=draws)
        images = torch.randn(3, 1, 8, 8, generator=draws)
        out = model(images, torch.zeros(3), torch.arange(3))
        out.square().sum().backward()
        assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())
        outputs.append(out)
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-4)  # eps of the norm differs
