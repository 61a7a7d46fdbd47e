"""The averaged weights of a run as a file in the layout of the released code, or of diffusers."""

from __future__ import annotations

from pathlib import Path

from ditbench.errors import DitbenchError
from ditbench.rundir import RunDirectory
from ditbench.runs.directory.reopen import read_config
from ditbench.weights.fit import CLASSES
from ditbench.weights.names import to_diffusers
from ditbench.weights.read import read_weights
from ditbench.weights.recognise import recognise
from ditbench.weights.write import check_suffix, write_configuration, write_weights


def export_weights(run: Path, output: Path, *, diffusers: bool = False) -> str:
    """Write the averaged weights of a run's last checkpoint; returns what they are, in words.

    For diffusers, its config.json is written beside them. As in the released code, a model that was
    trained without dropping classes has no embedding of the null class. That of diffusers always
    has one: then, it is not trained. Raises a DitbenchError if there is no run or checkpoint,
    diffusers lacks the block, or the file cannot be written.
    """
    check_suffix(output)
    directory = RunDirectory(run)
    config = read_config(directory)
    if not directory.checkpoint.is_file():
        what = f"{run} has no checkpoint"
        raise DitbenchError(what, "name a run directory that `ditbench run` printed")
    if diffusers and config.block != "adaln-zero":
        what = f"diffusers has no block {config.block}"
        raise DitbenchError(what, "its DiT is adaln-zero: leave out --layout")
    tensors = read_weights(directory.checkpoint)
    without_null = config.model.class_dropout_prob == 0
    if without_null and not diffusers and CLASSES in tensors:
        tensors[CLASSES] = tensors[CLASSES][:-1]
    written = to_diffusers(tensors) if diffusers else tensors
    if diffusers:
        write_configuration(output, recognise(directory.path))
    write_weights(output, written)
    parameters = sum(value.numel() for name, value in tensors.items() if name != "pos_embed")
    text = f"{config.model.size.name} {config.block}: {parameters:,} averaged weights"
    untrained = "; its null class is not trained: do not guide samples"
    return text + untrained * (without_null and diffusers)
