"""How files become the images of a data set: the keys of `[data]` that say so. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How pictures are read, whatever their size and mode.

    Without `image_size`, pictures keep their pixels and must have one size.
    """

    image_size: int | None = None  # both sides of the images, in pixels
    background: str = "white"  # shown where a picture is transparent; a name or #rrggbb
    random_crop: bool = False  # crop at a place drawn per picture rather than in the centre
    max_unreadable: float = 0.01  # the share of pictures that may be skipped as unreadable
    label_column: str | None = None  # the column of metadata.csv with the classes
    scaling_factor: float | None = None  # of latents whose files do not say it


DEFAULTS = Settings()
