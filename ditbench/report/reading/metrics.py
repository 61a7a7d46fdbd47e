"""How result.json describes a metric. Apart, because pydantic is slow to import."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ditbench.distances import key_of


class MetricFacts(BaseModel):
    """A metric as result.json describes it."""

    model_config = ConfigDict(frozen=True, strict=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = Field(pattern=r"^[\w .()/%-]+$", max_length=40)
    direction: Literal["lower", "higher"]
    format: str = Field(pattern=r"^\.[0-9][fg]$")  # see `amounts.writer`
    unit: str = Field(default="", pattern=r"^[\w .()/%-]*$", max_length=20)
    version: int = 1  # incremented when the same samples get another value
    depends_on_samples: bool = True  # its column in eval.csv ends in their number
    scale: Literal["log", "linear"] = "linear"  # compared by ratios, or by differences
    column: str | None = None  # of eval.csv, without the number of samples; None if it is the name

    def in_tables(self) -> MetricFacts:
        """The same under the key that tables know: the distance of latents is where FID is."""
        key = key_of(self.name)
        names = {"name": key, "column": self.name}
        return self if key == self.name else self.model_copy(update=names)


# The metrics of runs of schema 1, which do not describe theirs.
FIRST_METRICS = (
    MetricFacts(name="fid", title="FID", direction="lower", format=".2f", scale="log"),
    MetricFacts(name="kid", title="KID", direction="lower", format=".3g"),
    MetricFacts(name="label_accuracy", title="Label acc.", direction="higher", format=".3f",
                depends_on_samples=False),
)  # fmt: skip
