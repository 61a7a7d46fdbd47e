"""Weights of other code: read from each form of file, and equal to diffusers' model in numbers."""

import json
import pickle
import subprocess
import sys

import pytest
import torch
from dits import SIZE, random_dit, released, saved
from safetensors.torch import save_file

from ditbench.errors import DitbenchError
from ditbench.models.blocks.adaln_zero import AdaLNZeroBlock
from ditbench.models.dit import DiT
from ditbench.models.sincos import timestep_features
from ditbench.models.sizes import parse_model
from ditbench.weights.fit import shapes_of
from ditbench.weights.names import from_diffusers, to_diffusers
from ditbench.weights.read import digest, read_weights
from ditbench.weights.recognise import recognise
from ditbench.weights.write import write_weights


def peer(dit):
    """The model of diffusers with these weights, and the features of timesteps of ours.

    It differs from the released code in two constants: the exponents of the timestep's frequencies
    are i / 127 there (released: i / 128), and the epsilon of the norm before the MLP is 1e-5
    (released: 1e-6).
    """
    from diffusers import DiTTransformer2DModel

    model = DiTTransformer2DModel(
        num_attention_heads=SIZE.num_heads, attention_head_dim=SIZE.hidden_size // SIZE.num_heads,
        in_channels=4, out_channels=8, num_layers=SIZE.depth, sample_size=8,
        patch_size=SIZE.patch_size, num_embeds_ada_norm=5, norm_eps=1e-6,
    ).eval()  # fmt: skip
    model.load_state_dict(to_diffusers(dit.state_dict()), strict=True)
    for block in model.transformer_blocks:
        block.norm1.emb.time_proj.forward = timestep_features
    return model


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_model_of_diffusers_computes_the_same_with_the_same_weights(dit, dtype, error):
    draws = torch.Generator().manual_seed(2)
    x = torch.randn(6, 4, 8, 8, generator=draws, dtype=dtype)
    t, y = torch.tensor([0, 1, 10, 500, 998, 999]), torch.arange(6)  # 5 is the null class
    theirs = peer(dit).to(dtype)(x, timestep=t, class_labels=y).sample
    ours = random_dit().to(dtype)(x, t, y)
    assert theirs.abs().max() > 0.5
    torch.testing.assert_close(ours, theirs, rtol=0, atol=error)


def test_features_of_timesteps_are_those_of_diffusers_with_the_released_exponents():
    from diffusers.models.embeddings import Timesteps

    t = torch.arange(1000)
    theirs = Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=0)(t)
    # Exponents are rounded to float32: an angle of 999 has 6e-5 of it.
    torch.testing.assert_close(timestep_features(t), theirs, rtol=0, atol=2e-4)


def test_names_of_diffusers_and_back(dit):
    state = dit.state_dict()
    back = from_diffusers(to_diffusers(state))
    positions = state.pop("pos_embed")
    assert positions.shape == (1, 16, 32)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_embedders_that_differ_between_blocks_are_refused(dit):
    theirs = to_diffusers(dit.state_dict())
    name = "transformer_blocks.2.norm1.emb.timestep_embedder.linear_1.bias"
    theirs[name] = theirs[name] + 1
    with pytest.raises(DitbenchError, match=r"t_embedder.mlp.0.bias of block 2 differs"):
        from_diffusers(theirs)


FORMS = {
    "official.pt": lambda path, dit: saved(path, dit.state_dict()),
    "old.pt": lambda path, dit: saved(path, dit.state_dict(), zipped=False),
    "train.pt": lambda path, dit: saved(path, released(dit)),
    "old-train.pt": lambda path, dit: saved(path, released(dit), zipped=False),
    "wrapped.pt": lambda path, dit: saved(
        path, {"model": {f"module.{n}": v for n, v in dit.state_dict().items()}}
    ),
    "weights.safetensors": lambda path, dit: save_file(dit.state_dict(), path),
    "written.pt": lambda path, dit: write_weights(path, dit.state_dict()),
    "written.safetensors": lambda path, dit: write_weights(path, dit.state_dict()),
    "diffusers.safetensors": lambda path, dit: save_file(
        {n: v.clone() for n, v in to_diffusers(dit.state_dict()).items()}, path
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file_is_read(dit, tmp_path, form):
    path = tmp_path / form
    FORMS[form](path, dit)
    tensors, state = read_weights(path), dit.state_dict()
    if "diffusers" in form:
        del state["pos_embed"]
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[name], state[name]) for name in state)
    assert shapes_of(read_weights(path, "meta")) == shapes_of(state)
    assert len(digest(path)) == 64


def test_a_pipeline_of_diffusers_is_read_from_its_folder(dit, tmp_path):
    folder = tmp_path / "pipeline"
    peer(dit).save_pretrained(folder / "transformer")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "DiTPipeline"}))
    for path in (folder, folder / "transformer"):
        assert torch.equal(read_weights(path)["blocks.1.attn.qkv.weight"],
                           dit.state_dict()["blocks.1.attn.qkv.weight"])  # fmt: skip
    found = recognise(folder)
    assert (found.num_heads, found.side, found.embeddings, found.learn_sigma) == (4, 8, 6, True)


class Harmful:
    def __reduce__(self):
        return print, ("executed",)


def damaged(path, content):
    path.write_bytes(content)
    return path


REFUSED = {
    "code": (lambda p, d: saved(p, {"model": Harmful()}), "it holds .*print, and only tensors"),
    "old code": (lambda p, d: saved(p, Harmful(), zipped=False), "it holds .*print, and only"),
    "a bare pickle": (lambda p, d: damaged(p, pickle.dumps(Harmful())), "(holds|not a file)"),
    "a list": (lambda p, d: saved(p, [1, 2]), "it holds a list, not the weights"),
    "a number": (lambda p, d: saved(p, {"x": 1.5}), "x is a float, not a dense tensor"),
    "labels": (
        lambda p, d: saved(p, {"x": torch.zeros(2).long()}),
        "x is a tensor, int64 strided, not",
    ),
    "sparse": (
        lambda p, d: saved(p, {"x": torch.eye(2).to_sparse()}),
        "(x is a tensor, float32 sparse_coo|no data)",
    ),
    "nothing": (lambda p, d: damaged(p, b""), "is not a file of weights, or it is damaged"),
    "text": (lambda p, d: damaged(p, b"hello"), "is not a file of weights, or it is damaged$"),
    "a pointer": (lambda p, d: damaged(p, b"version https://git-lfs.github.com"), "Git LFS"),
    "half a zip": (
        lambda p, d: damaged(p, saved(p, d.state_dict()).read_bytes()[:20_000]),
        "is not a file of weights, or it is damaged",
    ),
    "half an old file": (
        lambda p, d: damaged(p, saved(p, d.state_dict(), zipped=False).read_bytes()[:20_000]),
        "is not a file of weights, or it is damaged",
    ),
    "half a safetensors": (
        lambda p, d: (save_file(d.state_dict(), p), damaged(p, p.read_bytes()[:20_000])),
        "is not a file of safetensors, or it is damaged",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_anything_else_is_refused_in_one_line_and_not_executed(dit, tmp_path, case, device, capsys):
    make, message = REFUSED[case]
    path = tmp_path / "weights.pt"
    make(path, dit)
    with pytest.raises(DitbenchError, match=message) as raised:
        read_weights(path, device)
    assert str(path) in raised.value.message
    assert len(raised.value.message.splitlines()) == 1
    assert "executed" not in capsys.readouterr().out


def test_a_path_without_weights_is_refused(tmp_path):
    with pytest.raises(DitbenchError, match="does not exist"):
        read_weights(tmp_path / "none.pt")
    with pytest.raises(DitbenchError, match="holds no weights: none of checkpoints/latest"):
        read_weights(tmp_path)


def test_names_and_shapes_of_the_released_xl_2(tmp_path):
    """The facts of shared/paper: names of the published file, and 674.8 M parameters."""
    with torch.device("meta"):
        xl = DiT(AdaLNZeroBlock, parse_model("XL/2"), height=32, width=32, channels=4,
                 out_channels=8, num_classes=1000)  # fmt: skip
    shapes = shapes_of(xl.state_dict())
    D = 1152
    linears = {
        "x_embedder.proj": (D, 4, 2, 2),
        "t_embedder.mlp.0": (D, 256),
        "t_embedder.mlp.2": (D, D),
        "final_layer.linear": (32, D),
        "final_layer.adaLN_modulation.1": (2 * D, D),
    }
    in_block = {
        "attn.qkv": (3 * D, D),
        "attn.proj": (D, D),
        "mlp.fc1": (4 * D, D),
        "mlp.fc2": (D, 4 * D),
        "adaLN_modulation.1": (6 * D, D),
    }
    for index in range(28):
        linears |= {f"blocks.{index}.{name}": shape for name, shape in in_block.items()}
    official = {"pos_embed": (1, 256, D), "y_embedder.embedding_table.weight": (1001, D)}
    official |= {f"{name}.weight": shape for name, shape in linears.items()}
    official |= {f"{name}.bias": shape[:1] for name, shape in linears.items()}
    assert shapes == official
    from diffusers import DiTTransformer2DModel

    with torch.device("meta"):
        theirs = DiTTransformer2DModel(out_channels=8)
    assert shapes_of(to_diffusers(xl.state_dict())) == shapes_of(theirs.state_dict())
    assert shapes_of(from_diffusers(theirs.state_dict())) == {
        name: shape for name, shape in official.items() if name != "pos_embed"
    }
    parameters = sum(torch.Size(s).numel() for n, s in official.items() if n != "pos_embed")
    assert round(parameters / 1e6, 1) == 674.8


def test_size_input_and_classes_are_recognised(dit, tmp_path):
    found = recognise(saved(tmp_path / "a.pt", released(dit)))
    assert found.name == "32x3x?/2 on 8x8x4, 8 channels out, 6 class embeddings"
    assert (found.mlp_ratio, found.learn_sigma) == (4.0, True)
    small = random_dit(size=parse_model("S/4"), out_channels=4)
    found = recognise(saved(tmp_path / "b.pt", small.state_dict()))
    assert (found.num_heads, found.patch_size, found.learn_sigma) == (6, 4, False)
    with pytest.raises(DitbenchError, match="is not a DiT: it has no x_embedder"):
        recognise(saved(tmp_path / "c.pt", {"conv.weight": torch.zeros(2, 2)}))


def test_reading_does_not_allow_more_classes_for_the_rest_of_the_process(dit, tmp_path):
    path = saved(tmp_path / "a.pt", released(dit))
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from ditbench.weights.read import read_weights\n"
        f"read_weights(Path({str(path)!r}))\n"
        "import argparse; assert argparse.Namespace not in torch.serialization.get_safe_globals()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
