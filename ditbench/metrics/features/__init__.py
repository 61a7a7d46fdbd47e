"""Feature extractors: frozen networks from uint8 images to features."""
