"""Latents of an autoencoder: what they mean, the autoencoder, and the files that hold them."""
