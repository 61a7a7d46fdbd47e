"""Tables in every output format."""
