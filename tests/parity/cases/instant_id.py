"""A small InstantID by its files, on this side, beside diffusers' stored outputs.

python -m tests.parity.cases.instant_id     prints how far they are apart
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.adapters.controlnet import outputs
from ldm_jax.adapters.instant_id import InstantID, instant_id
from ldm_jax.adapters.settings import Base
from ldm_jax.types import Cond
from ldm_jax.weights import table
from tests.parity import compare
from tests.parity.cases import drawn, pipeline_cases
from tests.parity.cases import image_adapter_cases as cases
from tests.parity.cases.image_adapters import denoiser, network, predicted
from tests.parity.cases.networks import channels_first, channels_last
from tests.parity.folders import ARRAYS

CONFIG = InstantID(10, tokens=3, width=32, heads=2, stem=(4, 8))
FACE = drawn.normal("instant face", (cases.B, 10))
POINTS = drawn.normal("instant points", (cases.B, 3, 2 * cases.SIDE, 2 * cases.SIDE))
UNET = network(pipeline_cases.UNET)
BASE = Base(
    SimpleNamespace(
        model=UNET,
        conditions=(SimpleNamespace(token_width=cases.CONTEXT),),
        condition_names=lambda: SimpleNamespace(concat=0, tokens=cases.CONTEXT),
    ),
    SimpleNamespace(backbone=UNET.build(4, 4), first_stage=SimpleNamespace(channels=4, factor=2)),
)


def state() -> dict[str, np.ndarray]:
    """The weights by their published names, IdentityNet's and the face's."""
    net = table.shapes(CONFIG.identity_net.table(BASE))
    face = table.shapes(CONFIG.beside_text.table(BASE.model.backbone.sites, cases.CONTEXT))
    found = pipeline_cases.weights("identity", net)
    return found | pipeline_cases.weights("face", face)


def found() -> dict[str, np.ndarray]:
    """What IdentityNet adds, and the UNet with it and the face."""
    config, own = InstantID.of_file(state(), {}, BASE)
    adapter = instant_id(config, BASE, cases.CONTEXT)
    inputs = {"face": jnp.asarray(FACE), "points": channels_last(jnp.asarray(POINTS))}

    @jax.jit
    def signal():
        hint, cond = adapter.encode(own, inputs), Cond(tokens=jnp.asarray(cases.TEXT))
        return adapter.signal(own, hint, channels_last(cases.X), jnp.asarray(cases.T), cond)

    made = signal()
    y = predicted(UNET, denoiser(UNET), made, cases.SCALE)
    added = {f"added {i}": channels_first(made.added[at]) for i, at in enumerate(outputs(UNET))}
    return {"output": y, **added}


def pairs() -> compare.Pairs:
    """Ours and the reference, by the name of the array."""
    with jax.default_matmul_precision("highest"):
        here = found()
    with np.load(ARRAYS / "instant_id.npz") as reference:
        return {name: (np.asarray(here[name]), reference[name]) for name in reference}


if __name__ == "__main__":
    print(compare.table("InstantID", pairs()))
