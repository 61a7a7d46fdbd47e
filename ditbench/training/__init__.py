"""The wing that measures: train one model, evaluate it, write its run directory."""
