"""Results as one HTML file that opens offline: no script, and nothing is loaded from elsewhere."""
