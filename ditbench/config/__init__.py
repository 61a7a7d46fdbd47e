"""The configuration of a run. Torch-free.

`schema` has the sections and the fingerprint, `load` builds a configuration from its layers, and
`presets/` holds the presets as TOML.
"""

from ditbench.config.load import load, presets, read_toml
from ditbench.config.schema import RunConfig, keys, put, validate

__all__ = ["RunConfig", "keys", "load", "presets", "put", "read_toml", "validate"]
