"""Published results of the DiT paper, which a figure can show beside measured ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ditbench.report.figures.style import block_style, marker_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Peebles & Xie 2022, Table 4:\nDiT-XL/2, ImageNet 256x256, 400K steps"
FID_LABEL = "FID-50K, Inception features\n(the paper's)"
_MARKER = 5.0  # points: the side of a square marker


@dataclass(frozen=True)
class Published:
    """One row of the paper's Table 4.

    Args:
        block: ditbench's name of the block.
        gmacs: billions of multiply-accumulates of a forward pass; the paper calls them Gflops.
        parameters: their number, rounded to millions.
        fid: FID of 50,000 samples in Inception features after 400,000 steps of 256 images,
            without guidance.
    """

    block: str
    gmacs: float
    parameters: int
    fid: float


# Peebles & Xie, "Scalable Diffusion Models with Transformers", arXiv:2212.09748, Table 4, in the
# order of its section 3.2.
PUBLISHED = (
    Published("in-context", 119.37, 449_000_000, 35.24),
    Published("cross-attention", 137.62, 598_000_000, 26.14),
    Published("adaln", 118.56, 600_000_000, 25.21),
    Published("adaln-zero", 118.64, 675_000_000, 19.47),
)


def draw_published_fids(axes: Axes) -> None:
    """Draw each published FID as a marker with its value. Measured FIDs never share these axes."""
    labels = []
    for place, row in enumerate(PUBLISHED):
        style = block_style(row.block)
        # Two lines each, even if the second is empty: matplotlib would align one line differently.
        first, hyphen, second = style.label.partition("-")
        labels.append(f"{first}{hyphen}\n{second}")
        axes.plot(
            place,
            row.fid,
            linestyle="none",
            marker=style.marker,
            markersize=_MARKER * marker_size(style.marker),
            color=style.colour,
            clip_on=False,
        )
        axes.annotate(
            f"{row.fid:.2f}",
            (place, row.fid),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xticks(range(len(labels)), labels)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.4, len(labels) - 0.3)
    axes.set_ylim(0, 40)
    axes.set_ylabel(FID_LABEL)
