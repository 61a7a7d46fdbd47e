"""The conditioning blocks, one per file; `ditbench.models.registry` finds them by name."""
