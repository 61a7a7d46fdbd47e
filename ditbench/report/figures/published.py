"""Published results of the DiT paper, which a figure can show beside measured ones."""

import pandas as pd

TITLE = "Peebles & Xie 2022, Table 4:\nDiT-XL/2, ImageNet 256x256, 400K steps"
FID_LABEL = "FID-50K, Inception features (the paper's)"
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
