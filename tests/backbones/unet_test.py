"""The UNet: what it is conditioned on, and what it is not."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.backbones.unet import Encoder, UNetModule, unet
from ldm_jax.config import UNet as Config
from ldm_jax.errors import InputError
from ldm_jax.types import Cond
from tests.support import tiny, traced_once

CONFIG = replace(tiny.experiment().model, channel_mults=(1, 2))
MODULE = UNetModule(CONFIG, out_channels=2)
Z = jax.random.normal(jax.random.key(0), (2, 4, 4, 2))
STEPS = jnp.array([3, 700])


def normal(*shape, seed=1):
    return jax.random.normal(jax.random.key(seed), shape)


COND = Cond(
    vector=normal(2, 32),
    tokens=normal(2, 3, 5),
    mask=jnp.array([[True, True, False]] * 2),
    concat=normal(2, 4, 4, 1),
    added={
        "skip_0": normal(2, 4, 4, 8),
        "skip_1": normal(2, 4, 4, 8),
        "skip_2": normal(2, 2, 2, 8),
        "skip_3": normal(2, 2, 2, 16),
        "mid": normal(2, 2, 2, 16),
        "down_0": normal(2, 4, 4, 8),
        "below_0": normal(2, 2, 2, 8),
        "down_1": normal(2, 2, 2, 16),
    },
)


@pytest.fixture(scope="module")
def apply():
    """(z, steps, cond) -> output of one compiled network whose every weight counts."""
    params, compiled = tiny.drawn(MODULE.init, Z, STEPS, COND), jax.jit(MODULE.apply)
    return lambda z=Z, steps=STEPS, cond=COND: compiled(params, z, steps, cond)


def shape_of(config, z, cond, channels=2):
    module = UNetModule(config, channels)
    steps = jax.ShapeDtypeStruct(z.shape[:1], jnp.int32)
    key = jax.random.key(0)
    out, params = traced_once.shapes(module.init_with_output, key, z, steps, cond)
    return out.shape, params["params"]


def test_a_new_network_outputs_zero():
    last = jax.jit(lambda key: MODULE.init(key, Z, STEPS, COND)["params"]["conv_out"])
    assert not any(map(np.any, last(jax.random.key(0)).values()))


def test_everything_in_a_condition_counts(apply):
    y = apply()
    assert y.shape == Z.shape
    changes = {
        "steps": apply(steps=STEPS.at[0].add(100)),
        "vector": apply(cond=COND.replace(vector=COND.vector.at[0].add(0.5))),
        "tokens": apply(cond=COND.replace(tokens=COND.tokens.at[0, 1].add(1.0))),
        "concat": apply(cond=COND.replace(concat=COND.concat.at[0].add(0.5))),
    }
    for site, x in COND.added.items():
        changes[site] = apply(cond=COND.replace(added={**COND.added, site: x.at[0].add(0.5)}))
    for name, changed in changes.items():
        assert jnp.max(jnp.abs(changed[0] - y[0])) > 1e-3, name
        np.testing.assert_array_equal(changed[1], y[1], err_msg=name)  # the other example


def test_masked_tokens_do_not_count(apply):
    tokens = COND.tokens.at[:, 2].add(1.0)
    np.testing.assert_array_equal(apply(cond=COND.replace(tokens=tokens)), apply())


def test_what_may_be_added_to_has_the_shape_that_its_site_says():
    places = unet(CONFIG, 2, 2).sites
    added = {name for name, site in places.items() if not site.attention}
    assert added == COND.added.keys()
    for name, x in COND.added.items():
        site = places[name]
        assert x.shape[1:] == (4 // site.factor, 4 // site.factor, site.channels), name


def test_cross_attention_is_listed_as_its_params_are_named_down_up_and_middle():
    config = replace(CONFIG, attention_factors=(1, 2), transformer_depth=2)
    _, params = shape_of(config, Z, Cond(tokens=normal(2, 3, 5)))
    crossing = [name for name, site in unet(config, 2, 2).sites.items() if site.attention]
    order = ["down_0_attn_0", "down_1_attn_0", "up_1_attn_0", "up_1_attn_1", "up_0_attn_0"]
    order += ["up_0_attn_1", "mid_attn"]
    assert crossing == [f"{name}/block_{i}/cross" for name in order for i in (0, 1)]
    for name in crossing:
        layer, block, cross = name.split("/")
        width = unet(config, 2, 2).sites[name].channels
        assert params[layer][block][cross]["k"]["kernel"].shape == (5, width)


@pytest.mark.parametrize(
    "cond",
    [Cond(added={"skip_9": Z}), Cond(attention={"mid_attn": ()}), Cond(added={"mid_attn": Z})],
)
def test_what_is_added_where_the_network_has_no_such_site_is_refused(cond):
    with pytest.raises(InputError, match="expected one of"):
        unet(CONFIG, 2, 2).apply({}, Z, STEPS, cond)


def test_further_keys_and_values_are_attended_to_in_addition_to_the_tokens_by_their_weight():
    backbone = unet(CONFIG, 2, 2)
    cond = Cond(tokens=COND.tokens, mask=COND.mask)
    params = tiny.drawn(backbone.init, jax.tree.map(lambda x: x[:1], cond))
    layer = "mid_attn/block_0/cross"

    @jax.jit
    def output(weight, cond=cond):
        further = {layer: ((normal(2, 4, 16, seed=5), normal(2, 4, 16, seed=6), weight),)}
        return backbone.apply(params, Z, STEPS, cond.replace(attention=further))

    plain = jax.jit(backbone.apply)(params, Z, STEPS, cond)
    tiny.assert_close(output(0.0), plain, rtol=0, atol=1e-6)
    one, two, each = output(1.0), output(2.0), output(jnp.array([1.0, 2.0]))
    assert jnp.max(jnp.abs(one - plain)) > 1e-3
    tiny.assert_close(each, jnp.stack([one[0], two[1]]), rtol=1e-5, atol=1e-6)


def test_the_encoder_has_the_params_of_the_whole_by_the_same_names():
    encoder = Encoder(CONFIG)
    params = tiny.drawn(MODULE.init, Z, STEPS, COND)
    (skips, x), own = jax.eval_shape(
        encoder.init_with_output, jax.random.key(0), Z, STEPS, COND.replace(added=None)
    )
    whole = params["params"]
    left = {"norm_out", "conv_out"} | {name for name in whole if name.startswith("up_")}
    assert own["params"].keys() == whole.keys() - left
    shapes = {name: jax.tree.map(jnp.shape, whole[name]) for name in own["params"]}
    assert jax.tree.map(jnp.shape, own["params"]) == shapes
    assert [s.shape for s in skips] == [COND.added[f"skip_{i}"].shape for i in range(4)]
    assert x.shape == COND.added["mid"].shape


def test_keys_and_values_of_tokens_may_be_computed_before_and_then_count_instead():
    config = replace(CONFIG, attention_factors=(1, 2), cross_only_factors=(2,))
    experiment = tiny.experiment(model=config)
    model, params, _ = tiny.model(experiment)
    params = params["denoiser"]
    z = normal(2, 4, 4, model.first_stage.channels)
    cond = Cond(tokens=normal(2, 3, experiment.conditions[0].token_width), mask=COND.mask)
    apply = jax.jit(lambda cond: model.denoise({"denoiser": params}, z, STEPS, cond))
    precompute = functools.partial(model.precompute, {"denoiser": params})
    known = precompute(cond)
    assert {name.split("/")[0] for name in known.attention} == {n for n in params if "attn" in n}
    assert known.attention.keys() <= model.backbone.sites.keys()
    tiny.assert_close(apply(known), apply(cond), rtol=1e-5, atol=1e-5)
    others = precompute(cond.replace(tokens=cond.tokens + 1.0)).attention
    assert jnp.max(jnp.abs(apply(known.replace(attention=others)) - apply(known))) > 1e-3
    assert precompute(Cond(vector=COND.vector)).attention is None


@pytest.mark.parametrize("mults", [(1,), (1, 2), (1, 2, 3)])
def test_the_output_has_the_shape_of_z(mults):
    config = replace(CONFIG, channel_mults=mults, num_res_blocks=2)
    for cond in (Cond(), Cond(tokens=jax.ShapeDtypeStruct((2, 3, 5), jnp.float32))):
        assert shape_of(config, jax.ShapeDtypeStruct((2, 8, 16, 2), jnp.float32), cond)[0] == (
            2,
            8,
            16,
            2,
        )
    assert shape_of(config, Z, Cond(), channels=6)[0] == (2, 4, 4, 6)


def test_attention_is_where_requested_and_crosses_where_there_are_tokens():
    config = replace(CONFIG, attention_factors=(2,))
    _, plain = shape_of(config, Z, Cond())
    _, crossing = shape_of(config, Z, Cond(tokens=normal(2, 3, 5)))
    expected = {"down_1_attn_0", "mid_attn", "up_1_attn_0", "up_1_attn_1"}
    for params in (plain, crossing):
        assert {name for name in params if "attn" in name} == expected
    assert "qkv" in plain["mid_attn"]
    assert crossing["mid_attn"]["block_0"]["cross"]["k"]["kernel"].shape == (5, 16)


def test_heads_are_as_many_or_as_wide_as_requested():
    """Either way the heads share the channels, so the weights have the same shapes."""
    cond = Cond(tokens=normal(2, 3, 5))
    by_number = shape_of(replace(CONFIG, num_heads=4), Z, cond)[1]
    by_width = shape_of(replace(CONFIG, num_heads=3, head_channels=4), Z, cond)[1]
    assert jax.tree.map(jnp.shape, by_number) == jax.tree.map(jnp.shape, by_width)


def test_the_originals_text_to_image_network_has_its_number_of_parameters():
    """CompVis's txt2img-1p4B-eval announces "DiffusionWrapper has 872.30 M params"."""
    z = jax.ShapeDtypeStruct((1, 32, 32, 4), jnp.float32)
    tokens = jax.ShapeDtypeStruct((1, 77, 1280), jnp.float32)
    _, params = shape_of(Config(), z, Cond(tokens=tokens), channels=4)
    assert round(sum(x.size for x in jax.tree.leaves(params)) / 1e6, 2) == 872.30


def gradient_of(config, params):
    """Of the sum of squares of the output, by every parameter."""
    module = UNetModule(config, out_channels=2)
    return jax.jit(jax.grad(lambda p: jnp.sum(module.apply(p, Z, STEPS, COND) ** 2)))(params)


def test_computing_again_changes_no_gradient():
    params = tiny.drawn(MODULE.init, Z, STEPS, COND)
    once = gradient_of(CONFIG, params)
    for remat in ("dots", "full"):
        config = replace(CONFIG, remat=remat)
        assert "remat" in str(jax.make_jaxpr(UNetModule(config, 2).apply)(params, Z, STEPS, COND))
        tiny.assert_close(gradient_of(config, params), once, rtol=1e-4, atol=1e-4)


def test_blocks_that_change_the_resolution_replace_convolutions():
    _, params = shape_of(replace(CONFIG, resample_blocks=True), Z, Cond())
    _, plain = shape_of(CONFIG, Z, Cond())
    for name in ("down_0_downsample", "up_1_upsample"):
        assert set(plain[name]) == {"conv"}
        assert set(params[name]) == {"norm1", "conv1", "embedding", "norm2", "conv2"}
    assert params.keys() == plain.keys()


def test_a_vector_of_another_width_goes_through_two_layers():
    config = replace(CONFIG, vector_dim=6)
    _, params = shape_of(config, Z, Cond(vector=normal(2, 6)))
    assert params["vector_1"]["kernel"].shape == (6, 32)
    assert params["vector_2"]["kernel"].shape == (32, 32)


def test_where_attention_crosses_only_its_keys_are_of_the_tokens():
    config = replace(CONFIG, attention_factors=(1, 2), cross_only_factors=(2,))
    _, params = shape_of(config, Z, Cond(tokens=normal(2, 3, 5)))
    widths = {
        n: params[n]["block_0"]["self"]["k"]["kernel"].shape[0] for n in params if "attn" in n
    }
    assert widths == {
        "down_0_attn_0": 8,
        "down_1_attn_0": 5,
        "mid_attn": 16,
        "up_1_attn_0": 5,
        "up_1_attn_1": 5,
        "up_0_attn_0": 8,
        "up_0_attn_1": 8,
    }
