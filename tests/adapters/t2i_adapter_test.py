"""T2I-Adapter: its pyramid, what its features depend on, and the files that it reads."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.adapters.adapter import adapted
from ldm_jax.adapters.settings import Base
from ldm_jax.adapters.t2i_adapter import T2IAdapter
from ldm_jax.backbones.unet import UNet
from ldm_jax.errors import InputError
from ldm_jax.nn.unshuffle import unshuffled
from ldm_jax.types import Backbone, Cond, DiffusionModel
from tests.support import tiny

NETWORK = UNet(
    channels=8, channel_mults=(1, 2), num_res_blocks=1, attention_factors=(1,), num_heads=2,
    norm_groups=4,
)  # fmt: skip
BACKBONE = NETWORK.build(2, 2)


def base_of(backbone) -> Base:
    """A base with this network, of two pixels per latent."""
    stage = tiny.first_stage(factor=2)
    return Base(
        None,
        DiffusionModel(
            **{**dict.fromkeys(DiffusionModel._fields), "backbone": backbone, "first_stage": stage}
        ),
    )


BASE = base_of(BACKBONE)
TIMESTEP = jnp.array([3, 12])


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


HINT, Z = normal(2, 8, 8, 3, seed=1), normal(2, 4, 4, 2, seed=2)


def features(config: T2IAdapter, own, hint):
    adapter = config.build(BASE)
    hint = adapter.encode(own, {"hint": hint})
    return adapter.signal(own, hint, Z, TIMESTEP, Cond()).added


def own_of(config: T2IAdapter):
    return tiny.drawn(config.build(BASE).init, {})


def test_pixels_become_channels_color_by_color_and_row_by_row():
    x = jnp.arange(4 * 6 * 2).reshape(1, 4, 6, 2)
    y = unshuffled(x, 2)
    assert y.shape == (1, 2, 3, 8)
    places = [(dy, dx, c) for c in (0, 1) for dy in (0, 1) for dx in (0, 1)]
    expected = [x[0, 2 + dy, 4 + dx, c] for dy, dx, c in places]
    np.testing.assert_array_equal(y[0, 1, 2], expected)


def test_the_features_of_a_full_adapter():
    """Blocks of a 3 x 3 and a 1 x 1 convolution, residual, without norms."""
    config = T2IAdapter(blocks=1)
    own = own_of(config)
    found = features(config, own, HINT)
    assert {site: x.shape for site, x in found.items()} == {
        "down_0": (2, 4, 4, 8),
        "down_1": (2, 2, 2, 16),
    }

    def conv(layer, x):
        y = jax.lax.conv_general_dilated(
            x, layer["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y + layer["bias"]

    def block(part, x):
        return x + conv(part["conv2"], jax.nn.relu(conv(part["conv1"], x)))

    x = block(own["level_0"]["block_0"], conv(own["conv_in"], unshuffled(HINT, 2)))
    np.testing.assert_allclose(found["down_0"], x, rtol=1e-5, atol=1e-5)
    x = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
    x = block(own["level_1"]["block_0"], conv(own["level_1"]["in"], x))
    np.testing.assert_allclose(found["down_1"], x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "places"), [("full", "sd"), ("light", "sdxl")])
def test_as_it_begins_it_changes_nothing_and_its_first_convolution_learns(size, places):
    config = T2IAdapter(size=size, blocks=1, places=places)

    @jax.jit
    def of(own):
        def total(own):
            found = features(config, own, HINT)
            return sum(jnp.sum(x) for x in found.values()), found

        return jax.grad(total, has_aux=True)(own)

    gradient, found = of(config.build(BASE).init(jax.random.key(0), {}))
    assert not any(jnp.any(x) for x in found.values())
    first = gradient["conv_in"] if size == "full" else gradient["level_0"]["in"]
    assert jnp.any(first["kernel"])
    drawn = replace(config, zero_init=False).build(BASE).init(jax.random.key(0), {})
    assert all(jnp.any(x) for x in of(drawn)[1].values())


def test_features_reach_the_skip_and_the_layers_behind():
    """A feature at the end of a level is in its skip connection and in the layers below."""
    params = tiny.drawn(BACKBONE.init, Cond(tokens=jnp.zeros((1, 3, 5))))
    cond, places = Cond(tokens=normal(2, 3, 5, seed=4)), {}
    for site in ("down_0", "below_0", "down_1", "mid", "skip_1", "skip_2"):
        side, channels = 4 // BACKBONE.sites[site].factor, BACKBONE.sites[site].channels
        places[site] = normal(2, side, side, channels, seed=9)

    @jax.jit
    def of(scales):
        added = {site: scales[site] * x for site, x in places.items()}
        return BACKBONE.apply(params, Z, TIMESTEP, cond.replace(added=added))

    none = dict.fromkeys(places, 0.0)
    at = {site: of(none | {site: 1.0}) for site in places}
    plain = of(none)
    for early, skip in (("down_0", "skip_1"), ("below_0", "skip_2"), ("down_1", "mid")):
        assert jnp.max(jnp.abs(at[early] - plain)) > 1e-3, early
        assert jnp.max(jnp.abs(at[early] - at[skip])) > 1e-3, early


def test_a_model_with_it_follows_the_hint_by_the_scale():
    model, params, _ = tiny.model(replace(tiny.experiment(), model=NETWORK))
    config = T2IAdapter()
    params |= {"adapters": {"a": own_of(config)}}
    inputs = {"tokens": jnp.arange(16).reshape(2, 8) % 12}

    @jax.jit
    def of(scale, hint):
        whole = adapted(model, {"a": config.build(BASE)}, {"a": scale})
        cond = whole.condition(params, inputs | {"hint": hint})
        return whole.denoise(params, Z, TIMESTEP, cond)

    plain = jax.jit(model.denoise)(params, Z, TIMESTEP, model.condition(params, inputs))
    np.testing.assert_allclose(of(0.0, HINT), plain, rtol=1e-5, atol=1e-6)
    assert jnp.max(jnp.abs(of(1.0, HINT) - plain)) > 1e-3
    assert jnp.max(jnp.abs(of(1.0, HINT) - of(1.0, -HINT))) > 1e-3


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("size", ["full", "light"])
@pytest.mark.parametrize("channels", [1, 3])
def test_files_come_in_and_go_out_bit_for_bit(size, layout, channels):
    config = T2IAdapter(size=size, hint_channels=channels, layout=layout)
    own = own_of(config)
    arrays, metadata = config.to_file(own, BASE)
    found, read = T2IAdapter.of_file(arrays, metadata, BASE)
    assert found == config
    tiny.assert_same(read, own)
    tiny.assert_same(found.to_file(read, BASE)[0], arrays)
    if layout == "original":
        there = {f"adapter.{key}": x for key, x in arrays.items()}
        tiny.assert_same(T2IAdapter.of_file(there, {}, BASE)[1], own)


def test_bad_files_are_refused_in_one_line():
    config = T2IAdapter()
    arrays, _ = config.to_file(own_of(config), BASE)
    assert T2IAdapter.of_file({"up.weight": np.zeros(3)}, {}, BASE) is None
    wider = base_of(replace(NETWORK, channel_mults=(1, 2, 4)).build(2, 2))
    with pytest.raises(InputError, match="features of 8, 16 channels: expected 8, 16, 32, those"):
        T2IAdapter.of_file(arrays, {}, wider)
    xl = T2IAdapter(places="sdxl")
    other, _ = xl.to_file(tiny.drawn(xl.network(wider.model.backbone.sites, 2).init, {}), wider)
    with pytest.raises(InputError, match="for SDXL, with features of 8, 16, 32, 32 channels: exp"):
        T2IAdapter.of_file(other, {}, BASE)
    with pytest.raises(
        InputError, match="reads hints as 5 channels: expected one of 4, 12, 16, 48"
    ):
        T2IAdapter.of_file(arrays | {"conv_in.weight": np.zeros((8, 5, 3, 3))}, {}, BASE)
    del arrays["body.1.block1.bias"]
    with pytest.raises(InputError, match=r"a T2I-Adapter .*: body.1.block1.bias is missing"):
        T2IAdapter.of_file(arrays, {}, BASE)


def test_a_base_without_levels_is_refused():
    with pytest.raises(InputError, match="a T2I-Adapter adds to the levels of a UNet: expected a"):
        T2IAdapter().check(base_of(Backbone(None, None)))
    with pytest.raises(InputError, match=r"adapter.size is 'light' .* has 6 channels: expected"):
        T2IAdapter(size="light").check(base_of(UNet(channels=6, norm_groups=2).build(2, 2)))
