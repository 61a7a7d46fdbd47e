"""Reading run directories into one table of evaluations."""
