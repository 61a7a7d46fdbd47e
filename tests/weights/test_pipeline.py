"""Samples of diffusers' DiTPipeline, and ours from the folder that it saves."""

from pathlib import Path

import autoencoder
import torch
from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

from ditbench.data.latents.vae import Vae
from ditbench.models.dit import DiT
from ditbench.models.registry import block_class
from ditbench.models.sincos import timestep_features
from ditbench.models.sizes import ModelSize
from ditbench.objectives.ddpm import DDPM
from ditbench.objectives.guidance import guided
from ditbench.objectives.samplers import ddim
from ditbench.objectives.schedule import Schedule
from ditbench.weights.fit import load, match, shapes_of
from ditbench.weights.read import read_weights
from ditbench.weights.recognise import recognise


def pipeline():
    """A tiny pipeline for the 1000 classes of ImageNet, whose null class it has built in."""
    draws = torch.Generator().manual_seed(3)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2,
        sample_size=4, norm_eps=1e-6,
    ).eval()  # fmt: skip
    state = transformer.state_dict()
    for name, value in state.items():
        value.copy_(torch.randn(value.shape, generator=draws) / value.shape[-1] ** 0.5)
        state[name.replace("blocks.1.norm1.emb", "blocks.0.norm1.emb")].copy_(value)
    scheduler = DDIMScheduler(
        beta_start=1e-4, beta_end=0.02, clip_sample=False, timestep_spacing="leading"
    )
    pipe = DiTPipeline(transformer, autoencoder.tiny(), scheduler)
    for block in transformer.transformer_blocks:  # see `peer` in test_weights
        block.norm1.emb.time_proj.forward = timestep_features
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_guided_samples_are_those_of_the_pipeline(tmp_path):
    pipe, labels = pipeline(), [207, 360, 999]
    theirs = pipe(
        labels, guidance_scale=4.0, generator=torch.Generator().manual_seed(0),
        num_inference_steps=10, output_type="np",
    ).images  # fmt: skip
    pipe.save_pretrained(tmp_path)
    found = recognise(tmp_path)
    assert found.name == "16x2x2/2 on 4x4x4, 8 channels out, 1001 class embeddings"
    arguments = {
        "block": block_class("adaln-zero"), "size": ModelSize(16, 2, 2, 2), "height": 4, "width": 4,
        "channels": 4, "out_channels": 8, "num_classes": 1000,
    }  # fmt: skip
    model, tensors = DiT(**arguments), read_weights(tmp_path)
    fit = match(arguments, shapes_of(tensors))
    assert [each.name for each in fit.fresh] == ["pos_embed"]  # computed
    load(model, tensors, fit, Path("file"))
    whole, objective = DDPM().schedule, DDPM()
    kept = torch.arange(0, 1000, 100)  # the timesteps of the scheduler
    schedule = Schedule(whole.timesteps[kept], whole.alphas_cumprod[kept])
    network = guided(model.eval(), 4.0, 1000, channels=4)
    y = torch.tensor(labels)

    def noise(x, t):
        return objective.split(network(x, torch.full((3,), t), y))

    with torch.no_grad():
        start = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
        latents = ddim(noise, start, schedule, clip=False)
    images = Vae.load(tmp_path).decode(latents)
    ours = images.permute(0, 2, 3, 1) / 2 + 0.5
    assert ours.std() > 0.05
    torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-4)
