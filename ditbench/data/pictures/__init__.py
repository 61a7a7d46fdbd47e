"""Pictures as people have them: found, decoded, and made images of one size and mode."""
