"""The conditioning blocks, one per file; `ditbench.models.registry` finds them by name.

docs/strategies.md has the equations of each, and where it differs from its paper.
"""
