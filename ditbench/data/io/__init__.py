"""Reading files: folders and zips, decoding, limits, and the cache of decoded pixels."""
