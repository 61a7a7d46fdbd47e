"""The options that `run`, `tune` and `bench` share, and the configuration that they make.

Like everything that a help page needs, this imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ditbench.cli.options.common import DEVICES, PICTURES, how, printed, what
from ditbench.cli.options.completion import complete_assignments, complete_presets
from ditbench.cli.options.parse import parse_budget, parse_count
from ditbench.cli.options.sampling import INIT, of_file
from ditbench.data import SOURCES, find_source, is_known
from ditbench.errors import DitbenchError, unknown_name
from ditbench.files import check_utf8
from ditbench.models.sizes import parse_model

if TYPE_CHECKING:
    from ditbench.config import RunConfig
    from ditbench.config.sections import DataConfig
    from ditbench.data.pictures.survey import Survey

DryRun = Annotated[bool, printed(None,
    "Print what would be run and, after seconds of calibration, how long it takes. Write nothing.",
    "--dry-run")]  # fmt: skip
Quiet = Annotated[bool, printed(None, "Show no progress.", "--quiet")]


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is trained, and on what; None where an option is not given."""

    # fmt: off
    set_: Annotated[list[str] | None, what("KEY=VALUE",
        "Any setting: eval.cfg_scale=4; repeatable. See `ditbench settings`.",
        "--set", autocompletion=complete_assignments)] = None
    model: Annotated[str | None, what("SIZE",
        "S/4, or 256x8x4/2 (hidden x depth x heads / patch).")] = None
    objective: Annotated[str | None, what("NAME", "ddpm or flow.")] = None
    batch_size: Annotated[str | None, what("N", "Images per step, on all GPUs together.")] = None
    device: Annotated[str, how("NAME", DEVICES)] = "auto"
    precision: Annotated[str | None, how("NAME", "auto, fp32, bf16, bf16-residual or fp8.")] = None
    backend: Annotated[str | None, how("NAME",
        "What computes a step: auto, plain, compile (torch.compile) or kernels (GPU, "
        "bf16).")] = None
    # fmt: on

    def overrides(self) -> dict[str, Any]:
        """The keys of the configuration that the options set; None where not given."""
        size = {} if self.model is None else vars(parse_model(self.model))
        batch = self.batch_size
        return {
            **{f"model.{name}": value for name, value in size.items()},
            "objective.name": self.objective,
            "train.batch_size": None if batch is None else parse_count(batch, "--batch-size"),
            "train.precision": self.precision,
            "train.backend": self.backend,
        }


@dataclass(frozen=True, kw_only=True)
class Training(Model):
    """A whole training run; None where an option is not given."""

    # fmt: off
    preset: Annotated[str | None, what("NAME",
        "The settings to start from, see `ditbench presets`. Default: ./ditbench.toml, settings "
        "derived from the images of --data, or digits.",
        autocompletion=complete_presets)] = None
    config: Annotated[Path | None, what("FILE",
        "TOML that overrides the preset, such as a run's config.toml.")] = None
    data: Annotated[Path | None, what("PATH", PICTURES)] = None
    features: Annotated[str | None, what("NAME",
        "The network in whose features samples are scored, see `ditbench features`; auto: the best "
        "at hand.")] = None
    image_size: Annotated[int | None, what("N",
        "Resize the pictures of --data to squares of N pixels, cut out of the centre.")] = None
    vae: Annotated[Path | None, what("PATH",
        "The autoencoder that decodes samples of latents: a folder, or its name.")] = None
    real: Annotated[Path | None, what("PATH",
        "The real images that samples are compared with: a folder, a zip, or an .npz of images or "
        "of ADM's statistics. Default: the data, decoded by --vae if latents.")] = None
    background: Annotated[str | None, what("COLOUR",
        "Shown where pictures are transparent; white by default.")] = None
    init: Annotated[Path | None, what("FILE",
        f"Start from weights: {INIT} What they lack starts fresh.")] = None
    match: Annotated[str | None, what("AMOUNT",
        "parameters or flops: change the width of each block to match adaln-zero's.")] = None
    steps: Annotated[str | None, how("N", "The budget in updates: 20000 or 20k.")] = None
    flops: Annotated[str | None, how("N",
        "The budget in training compute, 3 x 2 x forward MACs x images: 50PF or 5e16.")] = None
    time: Annotated[str | None, how("TIME",
        "The budget in training time, without evaluation: 10m, 1h30m or 600 (s).")] = None
    gpus: Annotated[int, how("N",
        "GPUs that compute each run together. The result does not depend on it.", min=1)] = 1
    workers: Annotated[str | None, how("N",
        "Runs at a time, each in a process of its own. Default: one per GPU; 1 on a CPU, where "
        "workers divide the threads.")] = None
    log: Annotated[str | None, printed("NAMES",
        "Also log to tensorboard, wandb or trackio; several joined by commas.")] = None
    # fmt: on

    def overrides(self) -> dict[str, Any]:
        """The keys of the configuration that the options set; see `Model.overrides`."""
        overrides = super().overrides() | parse_budget(self.steps, self.flops, self.time)
        overrides |= {"metrics.features": self.features, "init.path": self.init}
        overrides |= {"data.image_size": self.image_size, "data.background": self.background}
        overrides |= {"data.vae": self.vae, "metrics.real": self.real}
        if self.data is not None:
            name, path = find_source(self.data)
            overrides |= {"data.name": name, "data.path": path}
        return overrides

    def configure(
        self,
        more: Mapping[str, Any] = {},
        say: Callable[[str], None] = lambda _text: None,
        out: Path | None = None,
    ) -> RunConfig:
        """The configuration of the options and of `more` keys, where values are not None.

        They override a preset, `./ditbench.toml`, or settings from the images (see `find_base`),
        which `say` announces. Runs go to `out`, which must not be among the images.
        """
        from ditbench.config import put
        from ditbench.config.load import load, parse_settings
        from ditbench.config.project import BY_PATH, find_base
        from ditbench.data.pictures.survey import survey

        def look(data: DataConfig) -> Survey:
            named = data.path if data.name in BY_PATH else None
            if out is not None:  # before the images are read
                check_out(out, named)
            if not is_known(data.name):
                raise unknown_name("data set", data.name, SOURCES)
            return survey(named or Path(data.name), data.settings)

        options = {**self.overrides(), **more}
        overrides = {key: value for key, value in options.items() if value is not None}
        settings = tuple(self.set_ or ())
        given = parse_settings(settings) | overrides
        base = find_base(self.preset, self.config, given, look)
        if base.origin:
            say(base.origin)
        table: dict[str, Any] = {"block": "paper"} | base.table
        if self.init is not None:
            put(table, of_file(self.init, given, table.get("objective", {}).get("name", "flow")))
        config = load(file=self.config, settings=settings, overrides=overrides, base=table)
        if out is not None:
            check_out(out, config.data.path if config.data.name == "folder" else None)
        return config


def check_out(out: Path, images: Path | None) -> None:
    """Refuse a place for runs where their files would be read as images, or cannot be read back."""
    from ditbench.data.io.files import contains

    check_utf8(out)
    if images is not None and contains(images, out):
        raise DitbenchError(
            f"the runs would go into {out}, inside of the images' folder {images}",
            f"choose a place outside of it: --out {images.parent / (out.name or 'results')}",
        )
