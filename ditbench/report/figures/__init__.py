"""Figures of results: FID along training, FID against cost, and samples side by side.

They use matplotlib's objects directly, never pyplot.
"""
