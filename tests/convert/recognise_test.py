"""A network is read from the shapes of its weights."""

from dataclasses import replace
from pathlib import Path

import pytest

from ldm_jax import cli
from ldm_jax import config as c
from ldm_jax.convert import recognise
from ldm_jax.errors import InputError
from ldm_jax.weights import table

ROOT = Path(__file__).parents[2]
NETWORKS = [
    c.KLAutoencoder(channels=32, channel_mults=(1, 2), num_res_blocks=1, z_channels=5),
    c.KLAutoencoder(channels=64, channel_mults=(1, 1, 2, 4), attention_factors=(2, 8)),
    c.KLAutoencoder(channels=32, channel_mults=(2,), num_res_blocks=3, mid_attention=False),
    c.VQAutoencoder(channels=32, channel_mults=(1, 3), codebook_size=17, attention_factors=(2,)),
    c.VQAutoencoder(channels=32, channel_mults=(1, 2, 4), mid_attention=False, codebook_size=8),
]
every_network = pytest.mark.parametrize("config", NETWORKS, ids=lambda config: config.describe())


def shapes_of(config):
    return table.shapes(config.original_names())


@every_network
def test_the_shapes_of_a_network_describe_it(config):
    assert recognise.autoencoder(shapes_of(config)) == config


@every_network
def test_they_do_so_without_any_one_of_them(config):
    whole = shapes_of(config)
    for key in whole:
        if key != "quantize.embedding.weight":  # which alone tells a codebook
            rest = {k: shape for k, shape in whole.items() if k != key}
            assert recognise.autoencoder(rest) == config


@every_network
def test_they_do_so_with_any_one_of_them_too_wide(config):
    whole = shapes_of(config)
    for key, shape in whole.items():
        # the decoder's first convolution and the two numbers after it vote on the latents
        if key != "quantize.embedding.weight":
            wide = tuple(size + 1 for size in shape)
            assert recognise.autoencoder({**whole, key: wide}) == config


@pytest.mark.parametrize(
    "stem", sorted({p.stem for p in (ROOT / "configs" / "sd").glob("*.py")} - {"base"})
)
def test_models_of_stable_diffusion_are_distinguished(stem):
    experiment = cli.load_config(ROOT / "configs" / "sd" / f"{stem}.py")
    shapes = table.shapes(experiment.original_names().table)
    name = "v1" if stem in ("finetune", "dreambooth") else stem  # which train it further
    assert f"configs/sd/{name}.py" in recognise.stable_diffusion(shapes)


def test_other_models_are_not_taken_for_stable_diffusion():
    experiment = cli.load_config(ROOT / "configs" / "ldm" / "txt2img-1p4B.py")
    shapes = table.shapes(experiment.original_names().table)
    assert recognise.stable_diffusion(shapes) == ()


def test_other_weights_are_not_taken_for_a_first_stage():
    with pytest.raises(InputError) as error:
        recognise.autoencoder({"model.layers.0.weight": (3, 3), "b": (), "c": (2,)})
    assert "expected keys such as encoder.conv_in.weight" in str(error.value)
    assert "found model.layers.0.weight, b, c" in str(error.value)


def test_groups_that_no_shape_shows_are_asked_for():
    narrow = replace(NETWORKS[0], channels=48, norm_groups=16)
    with pytest.raises(InputError, match=r"levels of the encoder have 48, 96 channels.*--config"):
        recognise.autoencoder(shapes_of(narrow))


def test_widths_that_no_config_can_say_are_refused():
    shapes = shapes_of(NETWORKS[0])
    shapes = {k: (48, *s[1:]) if k.startswith("encoder.down.1") else s for k, s in shapes.items()}
    with pytest.raises(InputError, match="32, 48 channels: expected multiples of 32"):
        recognise.autoencoder(shapes)
