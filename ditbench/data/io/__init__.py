"""Reading files: folders and zips with their limits, decoding, and tensors cached on disk."""
