"""Adapters: a model and adapters make a model; an IP-Adapter in small beside those there are."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.adapters.adapter import adapted, merged
from ldm_jax.adapters.controlnet import ControlNet, controlnet, guessed, only_middle
from ldm_jax.adapters.lora import LoRA
from ldm_jax.adapters.low_rank import low_rank
from ldm_jax.config import DiffusionLoss, Sampling
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.guidance.joint import apart, joint
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.errors import InputError
from ldm_jax.sampling.generate import make_generate
from ldm_jax.train_step.diffusion import diffusion_loss
from ldm_jax.types import Adapter, Cond, DiffusionModel
from tests.support import tiny

B, SIDE = 2, 4
EXPERIMENT = tiny.experiment()
EXPERIMENT = replace(
    EXPERIMENT, model=replace(EXPERIMENT.model, channel_mults=(1, 2), attention_factors=(1,))
)
TIMESTEP = jnp.array([3, 12])


def normal(*shape, seed=1):
    return jax.random.normal(jax.random.key(seed), shape)


def ip_adapter(sites) -> Adapter:
    """Keys and values of an image's embedding, for each cross-attention; values start at zero."""
    layers = {name: site.channels for name, site in sites.items() if site.attention}

    def init(key, params):
        del params
        keys = jax.random.split(key, len(layers))
        return {
            layer.replace("/", "."): {"k": normal(6, C), "v": jnp.zeros((6, C)) * one}
            for (layer, C), one in zip(layers.items(), jnp.arange(len(keys)), strict=True)
        }

    def encode(own, inputs):
        tokens = inputs["face"]
        return {name: (tokens @ part["k"], tokens @ part["v"]) for name, part in own.items()}

    def signal(own, hint, z, timestep, cond):
        entries = {name.replace(".", "/"): ((k, v, 1.0),) for name, (k, v) in hint.items()}
        return Cond(attention=entries)

    def null(n, h, w):
        return {"face": jnp.zeros((n, 2, 6))}

    return Adapter(init, ("face",), null, dropped=("face",), encode=encode, signal=signal)


@functools.cache
def case() -> tuple[DiffusionModel, dict, dict, dict]:
    """A model of captions, its adapters, params of both, and a batch."""
    model, params, _ = tiny.model(EXPERIMENT)
    adapters = {
        "control": controlnet(ControlNet(stem=(4, 8)), EXPERIMENT.model),
        "image": ip_adapter(model.backbone.sites),
        "style": low_rank(LoRA(rank=2), []),
    }
    key = jax.random.key(7)
    params = params | {"adapters": {name: a.init(key, params) for name, a in adapters.items()}}
    batch = {
        "image": normal(B, 2 * SIDE, 2 * SIDE, 3),
        "tokens": jnp.arange(8 * B).reshape(B, 8) % 12,
        "hint": normal(B, 2 * SIDE, 2 * SIDE, 3, seed=2),
        "face": normal(B, 2, 6, seed=3),
    }
    return model, adapters, params, batch


def trained(params: dict) -> dict:
    """The params with those of the adapters moved away from where they began."""
    moved = jax.tree.map(lambda x: x + 0.1 * normal(*x.shape, seed=5), params["adapters"])
    return {**params, "adapters": moved}


Z = normal(B, SIDE, SIDE, 2, seed=9)


@functools.partial(jax.jit, static_argnames="names")
def output(params, batch, scales, names):
    """The model's raw output for the batch, with adapters of these names."""
    model, adapters, _, _ = case()
    chosen = {name: adapters[name] for name in names}
    whole = adapted(model, chosen, scales)
    params = merged(chosen, params, scales)
    return whole.denoise(params, Z, TIMESTEP, whole.condition(params, batch))


ALL = ("control", "image", "style")
ONE = dict.fromkeys(ALL, 1.0)


def test_as_they_begin_adapters_change_nothing():
    _, _, params, batch = case()
    plain = output(params, batch, {}, ())
    np.testing.assert_array_equal(output(params, batch, ONE, ALL), plain)


@pytest.mark.parametrize("name", ALL)
def test_each_changes_the_output_by_its_scale_which_compiles_nothing(name):
    _, _, params, batch = case()
    params, before = trained(params), output._cache_size()
    plain = output(params, batch, ONE, ())
    at = {scale: output(params, batch, {**ONE, name: scale}, (name,)) for scale in (0.0, 0.5, 1.0)}
    assert output._cache_size() - before <= 2
    tiny.assert_close(at[0.0], plain, rtol=0, atol=1e-6)
    assert jnp.max(jnp.abs(at[1.0] - plain)) > 1e-3
    assert jnp.max(jnp.abs(at[1.0] - at[0.5])) > 1e-4


def test_what_several_add_to_one_place_is_summed():
    """A ControlNet twice at half its scale is the ControlNet."""
    model, adapters, params, batch = case()
    params = trained(params)
    one = adapters["control"]
    params["adapters"] = {"a": params["adapters"]["control"], "b": params["adapters"]["control"]}

    @functools.partial(jax.jit, static_argnums=0)
    def of(names, scale):
        whole = adapted(model, dict.fromkeys(names, one), dict.fromkeys(names, scale))
        return whole.denoise(params, Z, TIMESTEP, whole.condition(params, batch))

    tiny.assert_close(of(("a", "b"), 0.5), of(("a",), 1.0), rtol=1e-4, atol=1e-5)


def test_a_scale_may_follow_the_timestep_and_the_site():
    model, adapters, params, batch = case()
    params, chosen = trained(params), {"control": adapters["control"]}

    @functools.partial(jax.jit, static_argnums=0)
    def of(scale):
        whole = adapted(model, chosen, {"control": scale})
        return whole.denoise(params, Z, TIMESTEP, whole.condition(params, batch))

    early = of(lambda site, timestep: (timestep > 5).astype(jnp.float32))
    none, full = of(lambda site, timestep: 0.0), of(lambda site, timestep: 1.0)
    tiny.assert_close(early, jnp.stack([none[0], full[1]]), rtol=1e-5, atol=1e-6)
    middle = of(only_middle())
    assert jnp.max(jnp.abs(middle - full)) > 1e-4
    tiny.assert_close(of(lambda site, timestep: float(site == "mid")), middle, rtol=0)
    of_site = guessed(EXPERIMENT.model, 0.5)
    powers = [of_site(site, None) for site in ("mid", "skip_3", "skip_0")]
    np.testing.assert_allclose(powers, [0.5, 0.5 * 0.825, 0.5 * 0.825**4])


def test_conditions_in_one_call_are_as_each_by_itself():
    model, adapters, params, batch = case()
    params = trained(params)
    whole = adapted(model, adapters)
    null = whole.conditioner.with_null(batch, whole.conditioner.null(B, SIDE, SIDE))
    assert not jnp.any(null["face"])
    assert jnp.any(null["hint"])  # which guidance does not drop

    @jax.jit
    def both(params):
        conds = [
            whole.precompute(params, whole.condition(params, inputs)) for inputs in (null, batch)
        ]
        kinds = model.process, model.prediction

        def network(z, timestep, cond):
            return whole.denoise(params, z, timestep, cond)

        each = [joint(network, [cond], *kinds) for cond in conds]
        alone = apart(*(lambda z, t, one=one: one(z, t)[0] for one in each))
        return joint(network, conds, *kinds)(Z, TIMESTEP), alone(Z, TIMESTEP)

    together, alone = both(params)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a.x0, b.x0, rtol=2e-5, atol=2e-6)
    assert jnp.max(jnp.abs(together[0].x0 - together[1].x0)) > 1e-3


def test_training_reaches_what_the_adapters_have():
    """Every part of each that counts at the start has a gradient, and the loss is the model's."""
    model, adapters, params, batch = case()
    keys = tiny.keys(B)

    @jax.jit
    def gradients(own):
        def loss(own):
            whole = merged(adapters, {**params, "adapters": own})
            return diffusion_loss(adapted(model, adapters), DiffusionLoss(), 0.0)(
                whole, batch, keys
            )[0]

        return jax.value_and_grad(loss)(own)

    loss, found = gradients(params["adapters"])
    plain = jax.jit(diffusion_loss(model, DiffusionLoss(), 0.0))(params, batch, keys)[0]
    np.testing.assert_allclose(loss, plain, rtol=1e-6)
    assert set(found["control"]["zero"]) == {*(f"skip_{i}" for i in range(4)), "mid"}
    assert all(jnp.any(zero["kernel"]) for zero in found["control"]["zero"].values())
    assert all(jnp.any(part["v"]) for part in found["image"].values())
    ups = [
        x
        for path, x in jax.tree_util.tree_leaves_with_path(found["style"])
        if "up" in str(path[-1])
    ]
    assert ups
    assert all(jnp.any(x) for x in ups)


def test_images_are_drawn_with_adapters_and_scales_compile_nothing():
    model, adapters, params, batch = case()
    params = trained(params)
    whole = adapted(model, adapters)
    generate = make_generate(whole, build_sampler("ddim"), 2 * SIDE)
    asked = Sampling(steps=3, spacing="trailing")
    times = sampling.padded_times(asked, model.process)
    inputs = {name: batch[name] for name in ("tokens", "hint", "face")}

    def draw(**scales):
        scales, seeds = {**ONE, **scales}, np.arange(B, dtype=np.uint32)
        chosen = {**merged(adapters, params, scales), "scales": scales}
        return generate(chosen, inputs, seeds, times, 2.0, sampling.arguments(asked))

    plain = draw()
    assert plain.shape == (B, 2 * SIDE, 2 * SIDE, 3)
    for name in ALL:
        assert jnp.max(jnp.abs(draw(**{name: 0.2}) - plain)) > 1e-4, name
    assert generate._cache_size() == 1


def test_a_lora_that_finds_no_kernel_is_refused():
    _, _, params, _ = case()
    with pytest.raises(InputError, match="match is 'nowhere': expected kernels"):
        low_rank(LoRA(match="nowhere"), []).init(jax.random.key(0), params)
    with pytest.raises(InputError, match=r"adapter.match is '\('"):
        LoRA(match="(").check(None)
