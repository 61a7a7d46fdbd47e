"""Runs: planned, trained, evaluated, resumed."""
