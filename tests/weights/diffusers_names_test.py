"""diffusers' names and config.json against those that diffusers itself writes.

`diffusers_keys.json` is made by `make_diffusers_keys.py`.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ldm_jax import config as c
from ldm_jax.convert import recognise
from ldm_jax.errors import InputError
from ldm_jax.weights import table
from ldm_jax.weights.formats.plain import todays_name
from ldm_jax.weights.names import autoencoder, diffusers
from ldm_jax.weights.names.autoencoder import Description

NETWORKS = json.loads((Path(__file__).parent / "diffusers_keys.json").read_text())
every_network = pytest.mark.parametrize("name", NETWORKS)


def names_of(description):
    model = description.model
    return diffusers.names(model.original_names(), len(model.channel_mults))


def written_config(description):
    return description.model.diffusers_config(description)


@every_network
def test_every_key_and_shape_is_that_of_diffusers(name):
    description = recognise.of_diffusers(NETWORKS[name]["config"])
    expected = {key: tuple(shape) for key, shape in NETWORKS[name]["shapes"].items()}
    found = table.shapes(names_of(description))
    left_out = {f"{n}.{part}" for n in description.left_out for part in ("weight", "bias")}
    assert left_out == ({k for k in found if "quant_conv" in k} if "without q" in name else set())
    assert {k: shape for k, shape in found.items() if k not in left_out} == expected


@every_network
def test_the_config_goes_there_and_back(name):
    config = NETWORKS[name]["config"]
    written = written_config(recognise.of_diffusers(config))
    assert {k: v for k, v in config.items() if k in written} == written
    assert json.loads(json.dumps(written)) == written
    absent = config.keys() - written.keys()  # nothing, or diffusers' default
    assert absent <= {
        *("_diffusers_version", "force_upcast", "latents_mean", "latents_std"),
        *("lookup_from_codebook", "norm_type", "vq_embed_dim"),
    }


def test_what_a_config_says():
    description = recognise.of_diffusers(NETWORKS["kl"]["config"])
    assert description.model == c.KLAutoencoder(
        channels=8,
        channel_mults=(1, 2, 2),
        num_res_blocks=1,
        attention_factors=(2,),
        z_channels=3,
        norm_groups=4,
    )
    assert description.image_size == 32
    assert (description.shift, description.scale) == ((0.0,) * 3, (0.18215,) * 3)
    description = recognise.of_diffusers(NETWORKS["vq without attention"]["config"])
    assert description.model == c.VQAutoencoder(
        channels=8,
        channel_mults=(1, 1),
        mid_attention=False,
        z_channels=4,
        norm_groups=2,
        codebook_size=7,
    )


def test_what_a_config_does_not_say_is_as_in_diffusers():
    description = recognise.of_diffusers({"_class_name": "AutoencoderKL"})
    assert description.model == c.KLAutoencoder(64, (1,), 1)
    assert description.scale == (0.18215,) * 4
    model = recognise.of_diffusers({"_class_name": "VQModel"}).model
    assert model == c.VQAutoencoder(64, (1,), 1, codebook_size=256)


def test_means_and_deviations_are_shift_and_scale():
    config = {"_class_name": "AutoencoderKL", "latent_channels": 2, "scaling_factor": 0.5}
    description = recognise.of_diffusers(
        {**config, "latents_mean": [1.0, -2.0], "latents_std": [0.25, 2.0]}
    )
    assert description.shift == (1.0, -2.0)
    assert description.scale == (2.0, 0.25)
    written = written_config(description)
    assert (written["latents_mean"], written["latents_std"]) == ([1.0, -2.0], [0.5, 4.0])
    assert written["scaling_factor"] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": "AutoencoderKLCogVideoX"}, "_class_name is 'AutoencoderKLCogVideoX'"),
        ({"in_channels": 4}, "in_channels is 4: expected 3"),
        ({"act_fn": "gelu"}, "act_fn is 'gelu': expected 'silu'"),
        ({"block_out_channels": [64, 96, 128]}, "64, 96, 128: expected multiples of the first"),
        ({"block_out_channels": [64]}, "expected 1 .Attn.DownEncoderBlock2D"),
        ({"up_block_types": ["UpDecoderBlock2D"] * 3}, "at the same resolutions"),
        ({"down_block_types": ["SkipDownBlock2D"] * 3}, "down_block_types SkipDownBlock2D"),
        ({"layers_per_block": "2"}, "layers_per_block is '2': expected such as 1"),
        ({"latents_mean": [0.0]}, "expected either the first or 3 numbers"),
        (
            {"latents_mean": [0.0, "0.5", 0.0], "latents_std": [1.0] * 3},
            r"latents_mean has \[0.0, '0.5', 0.0\]: expected finite numbers",
        ),
        ({"shift_factor": math.nan}, r"shift_factor has \(nan,\): expected finite numbers"),
        ({"scaling_factor": 0.0}, "scaling_factor has 0.0: expected numbers above 0"),
        (
            {"latents_mean": [0.0] * 3, "latents_std": [1.0, math.inf, 1.0]},
            "latents_std has inf: expected numbers above 0",
        ),
        ({"time_compression": 4}, "time_compression is 4: expected no such field"),
    ],
)
def test_what_is_not_here_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        recognise.of_diffusers(NETWORKS["kl"]["config"] | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vq_embed_dim": 8}, "vq_embed_dim is 8: expected 3"),
        ({"norm_type": "spatial"}, "norm_type is 'spatial'"),
        ({"lookup_from_codebook": True}, "lookup_from_codebook is True"),
    ],
)
def test_what_is_not_here_of_a_codebook_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        recognise.of_diffusers(NETWORKS["vq"]["config"] | changes)


@pytest.mark.parametrize(
    ("model", "shift", "message"),
    [
        (c.KLAutoencoder(channel_mults=(2, 4)), 0.0, "channel_mults is .2, 4.: expected 1 first"),
        (c.VQAutoencoder(), 1.0, "expected no shift and one scale"),
    ],
)
def test_what_is_not_there_is_refused(model, shift, message):
    z = model.z_channels
    with pytest.raises(InputError, match=message):
        written_config(Description(model, 64, (shift,) * z, (1.0,) * z))


def test_old_names_of_attention():
    old = {
        "encoder.mid_block.attentions.0.query.weight": "to_q.weight",
        "encoder.down_blocks.1.attentions.0.key.bias": "to_k.bias",
        "decoder.up_blocks.0.attentions.2.value.weight": "to_v.weight",
        "decoder.mid_block.attentions.0.proj_attn.bias": "to_out.0.bias",
    }
    for key, name in old.items():
        assert todays_name(key) == f"{key.rsplit('.', 2)[0]}.{name}"
    for names in NETWORKS.values():
        assert all(todays_name(key) == key for key in names["shapes"])


def test_a_left_out_convolution_is_the_identity():
    description = recognise.of_diffusers(NETWORKS["kl without quant_conv"]["config"])
    names = names_of(description)
    rng = np.random.default_rng(0)
    state = {
        key: rng.normal(size=shape).astype("f")
        for key, shape in NETWORKS["kl without quant_conv"]["shapes"].items()
    }
    whole = autoencoder.with_identities(names, state, description.left_out)
    params = table.to_here(names, whole)
    np.testing.assert_array_equal(params["encoder"]["quant_conv"]["kernel"], np.eye(8))
    np.testing.assert_array_equal(params["decoder"]["post_quant_conv"]["bias"], np.zeros(4))
    back = table.to_original(names, params)
    assert autoencoder.identities(back) == ("quant_conv", "post_quant_conv")
    assert autoencoder.without(back, autoencoder.identities(back)).keys() == state.keys()
    back["quant_conv.bias"] = np.full(8, 1e-6)
    assert autoencoder.identities(back) == ("post_quant_conv",)
    assert autoencoder.identities(back | {"quantize.embedding.weight": np.eye(3)}) == ()
