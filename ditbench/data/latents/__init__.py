"""Latents of an autoencoder: what they mean, the autoencoder, and the files that hold them."""

# What is stored of the posterior: its mean, one draw from it, or mean and standard deviation.
MEAN, SAMPLE, MOMENTS = KINDS = ("mean", "sample", "moments")
