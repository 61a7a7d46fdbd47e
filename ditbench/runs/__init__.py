"""Runs: planning, training and evaluation of one configuration or of many."""
