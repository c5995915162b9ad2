"""The tables of names: complete on either side, and invertible."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import config as c
from ldm_jax.backbones.unet import UNetModule
from ldm_jax.encoders.transformer import TextTransformer
from ldm_jax.errors import InputError
from ldm_jax.types import Cond
from ldm_jax.weights import table
from ldm_jax.weights.names import autoencoder, layers, text, tiny, unet


class Network(NamedTuple):
    """A small network's table, and what makes its parameters."""

    table: table.Table
    init: Callable


def kl(**changes) -> Network:
    config = c.KLAutoencoder(8, (1, 2, 2), 1, z_channels=3, norm_groups=4, **changes)

    def init(key):
        params = config.build().init(key)
        return {name: params[name] for name in ("encoder", "decoder")}

    return Network(autoencoder.kl_autoencoder(config), init)


def vq(**changes) -> Network:
    config = c.VQAutoencoder(8, (1, 2), 1, z_channels=3, norm_groups=4, codebook_size=5, **changes)

    def init(key):
        params = config.build().init(key)
        return {name: params[name] for name in ("encoder", "decoder", "quantizer")}

    return Network(autoencoder.vq_autoencoder(config), init)


def tiny_one(form: tiny.Form, **changes) -> Network:
    config = c.TinyAutoencoder(4, (1, 2, 3), z_channels=2, **changes)
    stage = config.build()

    def init(key):
        params = stage.init(key)
        return {name: params[name] for name in stage.parts}

    return Network(tiny.tiny_autoencoder(config, form), init)


def denoiser(context: int | None, **changes) -> Network:
    config = c.UNet(8, (1, 2), 1, attention_factors=(2,), norm_groups=4, num_heads=2, **changes)

    def init(key):
        cond = Cond(tokens=None if context is None else jnp.zeros((1, 2, context)))
        network = UNetModule(config, 3)
        return network.init(key, jnp.zeros((1, 4, 4, 5)), jnp.zeros(1, jnp.int32), cond)["params"]

    return Network(unet.unet(config, 5, 3, context), init)


def text_transformer() -> Network:
    config = c.Text(dim=6, layers=2, num_heads=2, head_dim=4, length=5, vocab_size=11)
    network = TextTransformer(config, config.vocab_size)
    ids = jnp.zeros((1, 5), jnp.int32)
    return Network(text.text_transformer(config), lambda key: network.init(key, ids)["params"])


NETWORKS = {
    "kl": kl(),
    "kl with attention in its levels": kl(attention_factors=(2, 4)),
    "kl without attention": kl(mid_attention=False),
    "vq": vq(attention_factors=(2,)),
    "vq without attention": vq(mid_attention=False),
    "tiny": tiny_one("original"),
    "tiny with norms": tiny_one("original", mid_norm=True),
    "tiny as diffusers has it": tiny_one("diffusers"),
    "unet": denoiser(None),
    "unet with tokens": denoiser(7, transformer_depth=2),
    "text": text_transformer(),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def state_of(names: table.Table) -> dict[str, np.ndarray]:
    """A state dict of other numbers in every place."""
    rng = np.random.default_rng(0)
    return {k: rng.normal(size=s).astype(np.float32) for k, s in table.shapes(names).items()}


@every_network
def test_a_converted_state_dict_has_the_tree_of_a_new_network(name):
    network = NETWORKS[name]
    converted = table.flattened(table.to_here(network.table, state_of(network.table)))
    new = table.flattened(jax.eval_shape(network.init, jax.random.key(0)))
    assert {path: w.shape for path, w in converted.items()} == {p: w.shape for p, w in new.items()}


@every_network
def test_the_inverse_gives_the_state_dict_that_was(name):
    names = NETWORKS[name].table
    state = state_of(names)
    returned = table.to_original(names, table.to_here(names, state))
    assert returned.keys() == state.keys()
    for key in state:
        np.testing.assert_array_equal(returned[key], state[key])


@every_network
def test_no_two_parameters_take_the_same_key(name):
    keys = [key for row in NETWORKS[name].table for key in row.keys]
    assert len(keys) == len(set(keys))


def test_every_key_that_does_not_fit_is_named():
    names = NETWORKS["text"].table
    state = state_of(names)
    del state["transformer.norm.bias"]
    state["transformer.norm.weight"] = np.zeros((3, 1))
    state["transformer.extra"] = np.zeros(2)
    with pytest.raises(InputError) as error:
        table.to_here(names, state)
    title, _, causes = str(error.value).partition(": ")
    assert title == "these weights are not of this network"
    assert causes.split("; ") == [
        "transformer.norm.bias is missing: expected shape (6,)",
        "transformer.extra (2,) is unexpected: no parameter takes it",
        "transformer.norm.weight has shape (3, 1): expected (6,)",
    ]


def test_keys_known_to_be_of_no_use_are_left_out():
    names = NETWORKS["text"].table
    state = state_of(names) | {key: np.zeros((11, 6)) for key in text.TEXT_UNUSED}
    assert table.to_here(names, state, unused=text.TEXT_UNUSED)


def test_names_under_a_prefix():
    row = table.under(layers.norm("norm", "norm_out", 8), "encoder/", "first_stage_model.")[0]
    assert row.path == "encoder/norm/scale"
    assert row.keys == ("first_stage_model.norm_out.weight",)
