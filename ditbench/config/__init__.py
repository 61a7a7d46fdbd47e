"""The configuration of a run: its sections, its layers, and presets as TOML. Torch-free."""

from ditbench.config.load import load, presets, read_toml
from ditbench.config.schema import RunConfig, keys, put, validate

__all__ = ["RunConfig", "keys", "load", "presets", "put", "read_toml", "validate"]
