"""The results of the DiT paper, and which runs may be compared with them."""

from __future__ import annotations

import pandas as pd

# Peebles & Xie, "Scalable Diffusion Models with Transformers", arXiv:2212.09748, Table 4, in the
# order of its section 3.2: billions of multiply-accumulates of a forward pass (the paper calls
# them Gflops), parameters rounded to millions, and FID of 50,000 samples in Inception features
# after 400,000 steps of 256 images, without guidance.
RESULTS = pd.DataFrame(
    {
        "in-context": (119.37, 449e6, 35.24),
        "cross-attention": (137.62, 598e6, 26.14),
        "adaln": (118.56, 600e6, 25.21),
        "adaln-zero": (118.64, 675e6, 19.47),
    },
    index=["gmacs", "parameters", "fid"],
).T
# The same of smaller models, by their names in tables: of these, only adaLN-Zero is published.
_SMALLER = {"S/2": (6.06, 33e6, 68.40), "B/2": (23.01, 130e6, 43.47), "L/2": (80.71, 458e6, 23.33)}
_OF_MODEL = {"XL/2": RESULTS} | {
    model: pd.DataFrame({"adaln-zero": numbers}, index=RESULTS.columns).T
    for model, numbers in _SMALLER.items()
}
# The presets whose runs may share axes with the paper, if they are scored as its are.
_PRESETS = ("imagenet256", "imagenet256-b2", "imagenet256-s2")
_SCORED = {"input": "32x32x4", "features": "inception", "samples": 50_000, "cfg_scale": 1.0,
           "objective": "ddpm", "batch_size": 256}  # fmt: skip


def beside(runs: pd.DataFrame) -> pd.DataFrame:
    """The published results that runs may share axes with, as in `RESULTS`; or none.

    The runs are of the paper's task: latents of ImageNet at 256x256, samples that are decoded and
    compared with real images as in the paper. That the images are ImageNet's is taken from the
    name of the preset.
    """
    task = runs["preset"].isin(_PRESETS) & runs["recipe"].str.contains('"metrics.real_digest"')
    for name, value in _SCORED.items():
        task &= runs[name] == value
    models = set(runs["model"])
    if not task.all() or len(models) > 1:
        return RESULTS.iloc[:0]
    return _OF_MODEL.get(models.pop(), RESULTS.iloc[:0])
