"""The original's first stages have as many keys and parameters as were counted in its own code."""

import math
from pathlib import Path

import pytest

from ldm_jax import cli
from ldm_jax.convert import recognise
from ldm_jax.weights import table

CONFIGS = Path(__file__).parents[2] / "configs" / "autoencoder"
COUNTS = {  # parameters, keys
    "kl-f4": (55_312_063, 204),
    "kl-f8": (83_653_863, 248),
    "kl-f16": (69_610_963, 342),
    "kl-f32": (103_880_131, 436),
    "vq-f4": (55_322_782, 205),
    "vq-f4-noattn": (53_219_486, 185),
    "vq-f8": (67_717_295, 299),
    "vq-f8-n256": (67_652_783, 299),
    "vq-f16": (69_593_371, 343),
}


def test_every_one_is_counted():
    assert {path.stem for path in CONFIGS.glob("*.py")} >= COUNTS.keys()


@pytest.mark.parametrize("name", COUNTS)
def test_keys_and_parameters(name):
    model = cli.load_config(CONFIGS / f"{name}.py").model
    shapes = table.shapes(model.original_names())
    assert (sum(map(math.prod, shapes.values())), len(shapes)) == COUNTS[name]
    assert recognise.autoencoder(shapes) == model
