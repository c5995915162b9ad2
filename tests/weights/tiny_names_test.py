"""The published names of the tiny autoencoder's weights."""

import numpy as np
import pytest

from ldm_jax.config import TinyAutoencoder
from ldm_jax.errors import InputError
from ldm_jax.weights import table
from ldm_jax.weights.names import tiny

ORIGINAL = tiny.tiny_autoencoder(TinyAutoencoder())
DIFFUSERS = tiny.tiny_autoencoder(TinyAutoencoder(), "diffusers")


def test_the_original_numbers_its_layers_clamp_and_relus_included():
    shapes = table.shapes(ORIGINAL)
    expected = {
        "encoder.0.weight": (64, 3, 3, 3),
        "encoder.1.conv.4.bias": (64,),
        "encoder.14.weight": (4, 64, 3, 3),
        "decoder.1.weight": (64, 4, 3, 3),
        "decoder.5.conv.0.weight": (64, 64, 3, 3),
        "decoder.19.weight": (3, 64, 3, 3),
    }
    assert expected.items() <= shapes.items()
    biased = {key.removesuffix(".bias") for key in shapes if key.endswith(".bias")}
    without = {key.removesuffix(".weight") for key in shapes if key.endswith(".weight")} - biased
    assert without == {f"encoder.{n}" for n in (2, 6, 10)} | {f"decoder.{n}" for n in (7, 12, 17)}


def test_diffusers_gives_the_clamp_no_number():
    """The same parameters in the same order: encoder.N is encoder.layers.N, decoder.N one less."""
    for row, other in zip(ORIGINAL, DIFFUSERS, strict=True):
        assert (row.path, row.shape) == (other.path, other.shape)
        (key,), (renamed,) = row.keys, other.keys
        part, number, *rest = key.split(".")
        less = {"encoder": 0, "decoder": 1}[part]
        assert renamed == ".".join([part, "layers", str(int(number) - less), *rest])


def test_two_files_are_joined_and_either_form_is_recognised():
    shapes = table.shapes(ORIGINAL)
    files = {
        part: {k.removeprefix(f"{part}."): np.zeros(s) for k, s in shapes.items() if part in k}
        for part in ("encoder", "decoder")
    }
    state = tiny.joined(**files)
    assert not table.mismatches(ORIGINAL, {key: w.shape for key, w in state.items()})
    assert tiny.form_of(state) == "original"
    assert tiny.form_of(table.shapes(DIFFUSERS)) == "diffusers"


@pytest.mark.parametrize("form", ["original", "diffusers"])
@pytest.mark.parametrize(
    "config",
    [
        TinyAutoencoder(),
        TinyAutoencoder(z_channels=32, mid_norm=True),
        TinyAutoencoder(8, (2,), 3),
        TinyAutoencoder(8, (1, 4, 2), 5),
    ],
)
def test_the_config_is_read_from_keys_and_shapes(config, form):
    assert (
        TinyAutoencoder(**tiny.fields_of(table.shapes(tiny.tiny_autoencoder(config, form))))
        == config
    )


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"encoder.0.weight": (64, 3, 3, 3)},
        {"encoder.conv_in.weight": (64, 3, 3, 3), "decoder.conv_in.weight": (64, 4, 3, 3)},
        # two convolutions before the first block
        {"encoder.0.weight": (8, 3), "encoder.2.weight": (8, 8), "encoder.4.conv.0.weight": (8, 8)},
    ],
)
def test_other_weights_are_refused(shapes):
    with pytest.raises(InputError, match="no tiny autoencoder"):
        tiny.fields_of(shapes)
