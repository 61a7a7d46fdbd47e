"""The command line: parse, call, print, exit code. Torch is imported inside command bodies."""

from ditbench.cli.app import app, main

__all__ = ["app", "main"]
