"""Full-size networks against stored outputs of the original code.

    python -m tests.parity.full_size --golden GOLDEN --keys KEYS [NAME ...]

GOLDEN holds an npz a configuration with the original's inputs and outputs, KEYS a json a
configuration with its state-dict keys and their shapes. Weights are drawn from the keys, so neither
torch nor a checkpoint is needed. The largest configuration takes about 12 GB of memory. Three of
the zoo have references of `make/full_size.py`, in whose folder are both the npz and the json.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from ldm_jax import build, cli
from ldm_jax import config as c
from ldm_jax.weights import table as tables
from ldm_jax.weights.names import autoencoder as autoencoder_names
from ldm_jax.weights.names import text as text_names
from ldm_jax.weights.names import unet as unet_names
from tests.parity import compare
from tests.parity.cases import drawn, networks

CONFIGS = Path(__file__).parents[2] / "configs" / "ldm"
TOLERANCE = 1e-4  # of the largest reference


class Part(NamedTuple):
    """One network of a configuration, and where its weights lie in the original's state dict."""

    prefix: str
    network: networks.Network
    table: tables.Table
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    unused: tuple[str, ...] = ()


def first_stage(config: c.KLAutoencoder, prefix: str = "first_stage_model.") -> Part:
    """A KL autoencoder."""
    network, table = networks.autoencoder(config), autoencoder_names.kl_autoencoder(config)
    return Part(prefix, network, table, ("image",), ("moments", "recon"))


def quantised(config: c.VQAutoencoder, prefix: str = "first_stage_model.") -> Part:
    """A VQ autoencoder."""
    network, table = networks.quantised(config), autoencoder_names.vq_autoencoder(config)
    return Part(prefix, network, table, ("image",), ("h", "indices", "recon"))


def unet(config: c.UNet, i: int, o: int, context: int | None = None) -> Part:
    """A denoiser from i to o channels that attends to tokens of width `context`."""
    network, table = networks.denoiser(config, o), unet_names.unet(config, i, o, context)
    inputs = ("x", "t") if context is None else ("x", "t", "context")
    return Part("model.diffusion_model.", network, table, inputs, ("y",))


def transformer(config: c.Text | c.Layout) -> Part:
    """A BERT-style encoder."""
    network, table = networks.text_transformer(config), text_names.text_transformer(config)
    return Part("cond_stage_model.", network, table, ("ids",), ("tokens",), text_names.TEXT_UNUSED)


def whole(name: str) -> tuple[Part, ...]:
    """The parts of a model in configs/ldm, where they are networks."""
    experiment = cli.load_config(CONFIGS / f"{name}.py")
    stage = experiment.first_stage.model
    z, told = stage.z_channels, build.build_condition_names(experiment.condition, stage.z_channels)
    parts = [unet(experiment.model, z + told.concat, z, told.tokens)]
    if isinstance(experiment.condition, c.Text | c.Layout):
        parts.append(transformer(experiment.condition))
    kinds = {c.KLAutoencoder: first_stage, c.VQAutoencoder: quantised}
    return (*parts, kinds[type(stage)](stage))


_f4 = c.KLAutoencoder(channel_mults=(1, 2, 4), z_channels=3)
_f8 = c.KLAutoencoder(channel_mults=(1, 2, 4, 4), z_channels=4)
_f16 = c.KLAutoencoder(channel_mults=(1, 1, 2, 2, 4), z_channels=16, attention_factors=(16,))
_vq4 = c.VQAutoencoder()
_vq4_noattn = c.VQAutoencoder(mid_attention=False)
_vq8 = c.VQAutoencoder(
    channel_mults=(1, 2, 2, 4), z_channels=4, codebook_size=16384, attention_factors=(8,)
)
_vq16 = c.VQAutoencoder(
    channel_mults=(1, 1, 2, 2, 4), z_channels=8, codebook_size=16384, attention_factors=(16,)
)
_sd1 = c.UNet()
_sd2 = c.UNet(head_channels=64, linear_projections=True)

# The parts of each configuration that this project has.
ZOO = {
    "first-stage-kl-f4": (first_stage(_f4, prefix=""),),
    "first-stage-kl-f8": (first_stage(_f8, prefix=""),),
    "first-stage-kl-f16": (first_stage(_f16, prefix=""),),
    "first-stage-vq-f4": (quantised(_vq4, prefix=""),),
    "first-stage-vq-f4-noattn": (quantised(_vq4_noattn, prefix=""),),
    "first-stage-vq-f8": (quantised(_vq8, prefix=""),),
    "first-stage-vq-f16": (quantised(_vq16, prefix=""),),
    "ldm-celebahq-ldm-vq-4": whole("celebahq-ldm-vq-4"),
    "ldm-cin256-v2": whole("cin256-v2"),
    "ldm-cin256": whole("cin-ldm-vq-f8"),
    "ldm-cin-ldm-vq-f8": whole("cin-ldm-vq-f8"),
    "ldm-text2img256": whole("text2img256"),
    "ldm-txt2img-1p4B-eval": whole("txt2img-1p4B"),
    "ldm-lsun_churches-ldm-kl-8": whole("lsun_churches-ldm-kl-8"),
    "ldm-semantic_synthesis256": whole("semantic_synthesis256"),
    "ldm-inpainting_big": whole("inpainting_big"),
    "ldm-bsr_sr": whole("bsr_sr"),
    "ldm-layout2img-openimages256": whole("layout2img-openimages256"),
    "rdm-768x768": whole("rdm-768x768"),
    "sd-v1-inference": (unet(_sd1, 4, 4, 768), first_stage(_f8)),
    "sd2-v2-inference": (unet(_sd2, 4, 4, 1024), first_stage(_f8)),
    "sd2-v2-inpainting-inference": (unet(_sd2, 9, 4, 1024), first_stage(_f8)),
}


def pairs(part: Part, shapes: Mapping[str, list[int]], golden: Mapping) -> compare.Pairs:
    """Ours and the original's outputs of one network.

    Args:
        shapes: the configuration's keys, with prefix.

    Raises:
        InputError: the keys under the prefix are not those of the network.
    """
    keys = [key.removeprefix(part.prefix) for key in shapes if key.startswith(part.prefix)]
    drawable = {key: shapes[part.prefix + key] for key in keys if key not in part.unused}
    params = tables.to_here(part.table, drawn.state(drawable, part.prefix))
    inputs = {name: golden[name] for name in part.inputs}
    with jax.default_matmul_precision("highest"):
        outputs = jax.jit(part.network.call)(params, inputs)
    return {name: (np.asarray(outputs[name]), golden[name]) for name in part.outputs}


def main() -> int:
    """Prints the table; 1 where something is further off than the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, required=True, help="folder of NAME.npz")
    parser.add_argument("--keys", type=Path, required=True, help="folder of NAME.json")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ZOO)}")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - ZOO.keys()
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: expected names among {', '.join(ZOO)}")

    close = True
    print("| configuration | array | max error | relative to max |\n|---|---|---|---|")
    for name in arguments.names or ZOO:
        shapes = json.loads((arguments.keys / f"{name}.json").read_text())
        golden = np.load(arguments.golden / f"{name}.npz")
        for part in ZOO[name]:
            found = pairs(part, shapes, golden)
            print(compare.table(name, found), flush=True)
            close &= all(relative < TOLERANCE for _, relative in compare.measured(found).values())
            jax.clear_caches()  # or every network's constants and programs stay in memory
    return 0 if close else 1


if __name__ == "__main__":
    sys.exit(main())
