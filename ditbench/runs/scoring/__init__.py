"""Samples of a model: scored in a run or later, drawn as grids, exported."""
