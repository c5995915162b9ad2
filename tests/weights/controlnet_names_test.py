"""A ControlNet has the keys and shapes of the published ones, in both layouts."""

import gzip
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import config as c
from ldm_jax.adapters.controlnet import ControlNet, controlnet, outputs
from ldm_jax.adapters.settings import Base
from ldm_jax.errors import InputError
from ldm_jax.types import Cond
from ldm_jax.weights import table
from ldm_jax.weights.names import controlnet as names
from tests.support import tiny

KEYS = Path(__file__).parents[1] / "parity" / "adapter_keys"
UNET = c.UNet()  # whose encoder is that of Stable Diffusion 1
SMALL = c.UNet(
    channels=8, channel_mults=(1, 2), num_res_blocks=1, attention_factors=(1,), num_heads=2,
    norm_groups=4, vector_dim=6,
)  # fmt: skip


def rows(config: ControlNet, network: c.UNet, context: int) -> table.Table:
    return names.original(config, network, outputs(network), 4, context)


def test_a_published_file_has_these_keys_and_shapes():
    lines = gzip.decompress((KEYS / "controlnet-sd15.txt.gz").read_bytes()).decode().splitlines()
    each = (line.split() for line in lines)
    published = {key: tuple(map(int, shape.split(","))) for key, shape in each}
    found = table.shapes(table.under(rows(ControlNet(), UNET, 768), there=names.PREFIX))
    assert found == published
    assert len(found) == 340
    assert names.prefix_of(found) == "control_model."
    assert names.prefix_of({key.removeprefix(names.PREFIX) for key in found}) == ""
    assert names.prefix_of({"model.diffusion_model.out.2.bias"}) is None


def test_diffusers_has_as_many_under_names_of_its_own():
    original = rows(ControlNet(), UNET, 768)
    found = names.diffusers(original, 4)
    assert [row.path for row in sorted(found)] == [row.path for row in sorted(original)]
    shapes = table.shapes(found)
    assert len(shapes) == 340
    stem = [key for key in shapes if key.startswith("controlnet_cond_embedding.")]
    places = ["conv_in", *(f"blocks.{i}" for i in range(6)), "conv_out"]
    assert stem == [
        f"controlnet_cond_embedding.{p}.{x}" for p in places for x in ("weight", "bias")
    ]
    assert shapes["controlnet_down_blocks.11.weight"] == (1280, 1280, 1, 1)
    assert shapes["controlnet_mid_block.bias"] == (1280,)
    assert shapes["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"] == (320, 768)
    assert "mid_block.resnets.1.conv2.weight" in shapes


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_every_param_has_a_row_and_comes_back(layout):
    config, backbone = ControlNet(stem=(4, 8)), SMALL.build(4, 4)
    cond = Cond(tokens=jnp.zeros((1, 2, 5)), vector=jnp.zeros((1, 6)))

    def init(key):
        return controlnet(config, SMALL).init(key, {"denoiser": backbone.init(key, cond)})

    params = tiny.drawn(init)
    found = rows(config, SMALL, 5)
    found = names.diffusers(found, 2) if layout == "diffusers" else found
    state = table.to_original(found, params)
    assert {key: x.shape for key, x in state.items()} == table.shapes(found)
    tiny.assert_same(table.to_here(found, state), params)


def test_a_file_says_what_it_is_and_comes_back_bit_for_bit():
    """Of either layout, with the prefix and without it, and beside the rest of a model."""
    experiment = tiny.experiment()
    model, params, _ = tiny.model(experiment)
    base = Base(experiment, model)
    for layout in ("original", "diffusers"):
        config = ControlNet(hint_channels=4, stem=(4, 8), layout=layout)
        own = tiny.drawn(lambda key, config=config: config.build(base).init(key, params))
        state, metadata = config.to_file(own, base)
        found = ControlNet.of_file(state, metadata, base)
        assert found[0] == config
        tiny.assert_same(found[1], own)
    prefixed, _ = ControlNet(stem=(4, 8)).to_file(
        tiny.drawn(lambda key: ControlNet(stem=(4, 8)).build(base).init(key, params)), base
    )
    bare = {key.removeprefix(names.PREFIX): x for key, x in prefixed.items()}
    whole = prefixed | {"model.diffusion_model.out.2.bias": np.zeros(4)}
    for state in (bare, whole):
        assert ControlNet.of_file(state, {"file": "control_shuffle"}, base)[0].pooled
    assert ControlNet.of_file({"down_blocks.0.weight": np.zeros(1)}, {}, base) is None
    with pytest.raises(InputError, match="stem has 3 levels"):
        three = {f"input_hint_block.{2 * i}.weight": np.zeros((8, 8, 3, 3)) for i in range(6)}
        ControlNet.of_file(three, {}, base)
    family = r"is for Stable Diffusion XL, with tokens 2048 wide, and the base is a model"
    key = next(key for key in bare if key.endswith("attn2.to_k.weight"))
    with pytest.raises(InputError, match=family):
        ControlNet.of_file(bare | {key: np.zeros((8, 2048))}, {}, base)
    wrong = bare | {"time_embed.0.weight": np.zeros((3, 3))}
    with pytest.raises(InputError, match="the weights are not of a ControlNet of this base"):
        ControlNet.of_file(wrong, {}, base)
