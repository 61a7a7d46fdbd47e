"""The model against diffusers' DiT, its positions, its gradients and its errors."""

import diffusers
import pytest
import torch
from tiny import inputs, make, randomized

from ditbench.errors import DitbenchError
from ditbench.models.registry import block_names
from ditbench.models.sizes import ModelSize

HALF = torch.bfloat16
TINY = ModelSize(hidden_size=48, depth=3, num_heads=4, patch_size=2)


def diffusers_twin(model):
    """diffusers' DiT with the weights of ours, name by name."""
    size = TINY
    twin = diffusers.DiTTransformer2DModel(
        num_attention_heads=size.num_heads,
        attention_head_dim=size.hidden_size // size.num_heads,
        in_channels=3,
        out_channels=6,
        num_layers=size.depth,
        attention_bias=True,
        sample_size=8,
        patch_size=size.patch_size,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=10,
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
        norm_eps=1e-5,
    ).eval()
    ours = model.state_dict()
    theirs = {
        "pos_embed.proj.weight": ours["x_embedder.proj.weight"],
        "pos_embed.proj.bias": ours["x_embedder.proj.bias"],
        "proj_out_1.weight": ours["final_layer.adaLN_modulation.1.weight"],
        "proj_out_1.bias": ours["final_layer.adaLN_modulation.1.bias"],
        "proj_out_2.weight": ours["final_layer.linear.weight"],
        "proj_out_2.bias": ours["final_layer.linear.bias"],
    }
    names = {
        "attn1.to_out.0": "attn.proj",
        "ff.net.0.proj": "mlp.fc1",
        "ff.net.2": "mlp.fc2",
        "norm1.linear": "adaLN_modulation.1",
    }
    for index in range(size.depth):
        their_block, our_block = f"transformer_blocks.{index}", f"blocks.{index}"
        for kind in ("weight", "bias"):
            qkv = ours[f"{our_block}.attn.qkv.{kind}"].chunk(3)
            for name, value in zip("qkv", qkv, strict=True):
                theirs[f"{their_block}.attn1.to_{name}.{kind}"] = value
            for their_name, our_name in names.items():
                theirs[f"{their_block}.{their_name}.{kind}"] = ours[
                    f"{our_block}.{our_name}.{kind}"
                ]
            for their_index, our_index in (("1", "0"), ("2", "2")):
                theirs[f"{their_block}.norm1.emb.timestep_embedder.linear_{their_index}.{kind}"] = (
                    ours[f"t_embedder.mlp.{our_index}.{kind}"]
                )
        theirs[f"{their_block}.norm1.emb.class_embedder.embedding_table.weight"] = ours[
            "y_embedder.embedding_table.weight"
        ]
    missing, unexpected = twin.load_state_dict(theirs, strict=False)
    assert not missing
    assert not unexpected
    for block in twin.transformer_blocks:
        # diffusers spaces its frequencies over half - 1, the paper's code and ditbench over half;
        # it also leaves the first norm's eps at another value than the second's.
        block.norm1.emb.time_proj.downscale_freq_shift = 0
        block.norm1.norm.eps = block.norm3.eps = 1e-6
    twin.norm_out.eps = 1e-6
    return twin


def test_adaln_zero_equals_diffusers():
    model = randomized(make("adaln-zero", TINY, channels=3, out_channels=6))
    x, t, y = inputs(channels=3)
    with torch.no_grad():
        ours = model(x, t, y)
        theirs = diffusers_twin(model)(x, timestep=t, class_labels=y).sample
    assert ours.abs().max() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_state_dict_has_the_names_of_the_published_checkpoints():
    expected = {"pos_embed": (1, 16, 48), "y_embedder.embedding_table.weight": (11, 48)}
    layers = {
        "x_embedder.proj": (48, 3, 2, 2),
        "t_embedder.mlp.0": (48, 256),
        "t_embedder.mlp.2": (48, 48),
        "final_layer.linear": (24, 48),
        "final_layer.adaLN_modulation.1": (96, 48),
    }
    for index in range(3):
        layers |= {
            f"blocks.{index}.attn.qkv": (144, 48),
            f"blocks.{index}.attn.proj": (48, 48),
            f"blocks.{index}.mlp.fc1": (192, 48),
            f"blocks.{index}.mlp.fc2": (48, 192),
            f"blocks.{index}.adaLN_modulation.1": (288, 48),
        }
    for name, shape in layers.items():
        expected |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    checkpoint = {name: torch.randn(shape) for name, shape in expected.items()}
    make("adaln-zero", TINY, channels=3, out_channels=6).load_state_dict(checkpoint, strict=True)


def test_positions_equal_diffusers():
    from diffusers.models.embeddings import get_2d_sincos_pos_embed

    from ditbench.models.sincos import sincos_positions

    theirs = torch.as_tensor(get_2d_sincos_pos_embed(64, (6, 6), base_size=6, output_type="pt"))
    torch.testing.assert_close(sincos_positions(64, 6, 6)[0], theirs.float(), atol=1e-6, rtol=0)


def test_positions_of_an_oblong_grid_are_all_different():
    from ditbench.models.sincos import sincos_positions

    table = sincos_positions(32, 3, 7)[0]
    assert len({tuple(row.tolist()) for row in table}) == 21


def test_patches_come_back_in_their_places():
    """A final layer that copies pixels through makes the whole model the identity."""
    model = make("none", ModelSize(16, 1, 2, 2), channels=4, out_channels=4)
    x, *_ = inputs(channels=4)
    patches = x.view(4, 4, 4, 2, 4, 2).permute(0, 2, 4, 3, 5, 1).reshape(4, 16, 16)
    torch.testing.assert_close(model.unpatchify(patches), x, rtol=0, atol=0)
    with torch.no_grad():
        model.x_embedder.proj.weight.copy_(torch.eye(16).view(16, 4, 2, 2))
        tokens = model.x_embedder(x)
    expected = torch.nn.functional.conv2d(x, model.x_embedder.proj.weight, stride=2)
    torch.testing.assert_close(tokens, expected.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("block", block_names())
def test_gradients_reach_the_label_and_time_tables_after_one_step(block):
    model = make(block)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, t, y = inputs()
    target = torch.randn_like(model(x, t, y))
    # At the start the output layer is zero, and under adaLN-Zero so is all that leads to it:
    # the gradient works its way back one layer a step, through two factors in adaln-lora.
    for _ in range(4):
        optimizer.zero_grad()
        (model(x, t, y) - target).square().mean().backward()
        optimizer.step()
    if model.block_class.reads_timestep:
        assert model.t_embedder.mlp[0].weight.grad.any()
    if model.block_class.reads_class:
        labels = model.y_embedder.embedding_table.weight.grad
        assert labels[y].abs().sum(1).min() > 0
        unused = torch.tensor(sorted(set(range(11)) - set(y.tolist())))
        assert not labels[unused].any()


def test_an_input_of_another_size_is_named_with_the_one_expected():
    x, t, y = inputs()
    with pytest.raises(ValueError, match=r"expected x of shape \(N, 1, 8, 8\), got \(4, 1, 4, 8\)"):
        make("none")(x[:, :, :4], t, y)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (ModelSize(48, 1, 4, 3), "patch size 3 does not divide 8x8"),
        (ModelSize(48, 1, 5, 2), "5 heads do not divide hidden size 48"),
        (ModelSize(42, 1, 2, 2), "hidden size 42 is not a multiple of 4"),
        (ModelSize(10**12, 1, 1, 2), "too large"),
        (ModelSize(16, 10**12, 1, 2), "too large"),
    ],
)
def test_models_that_cannot_be_built_say_so(size, message):
    with pytest.raises(DitbenchError, match=message) as raised:
        make("none", size)
    assert raised.value.hint


def test_timestep_features_are_cosines_then_sines_of_the_integer_timestep():
    from ditbench.models.sincos import timestep_features

    features = timestep_features(torch.tensor([0.0, 7.0]))
    assert features.shape == (2, 256)
    assert features[0].tolist() == [1.0] * 128 + [0.0] * 128
    assert features[1, 0].item() == pytest.approx(torch.tensor(7.0).cos().item())
    assert features[1, 128 + 64].item() == pytest.approx(torch.tensor(7 / 100).sin().item())


@pytest.mark.parametrize("block", block_names())
def test_a_residual_stream_in_bf16_stays_in_bf16(block):
    models = [randomized(make(block, registers=1, residual=each)) for each in (None, HALF)]
    seen = []
    for model in models:
        model.final_layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad(), torch.autocast("cpu", HALF):
        wide, narrow = (model(*inputs()) for model in models)
    assert [each.dtype for each in seen] == [torch.float32, HALF]
    assert (wide - narrow).norm() < 0.02 * wide.norm()
    assert not torch.equal(*(each.float() for each in seen))
