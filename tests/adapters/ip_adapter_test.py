"""IP-Adapter: tokens of an image, keys and values beside the text's, and the files it reads."""

import functools
import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ldm_jax.adapters.adapter import adapted
from ldm_jax.adapters.image_encoder import ImageEncoder
from ldm_jax.adapters.ip_adapter import IPAdapter, crossing, image_tokens, ip_adapter
from ldm_jax.adapters.settings import Base
from ldm_jax.data.settings import Data
from ldm_jax.encoders.clip.vision import CLIPImageEncoder
from ldm_jax.errors import InputError
from ldm_jax.nn.resampler import Resampler
from ldm_jax.types import Cond
from ldm_jax.weights import table
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.names import clip as clip_names
from ldm_jax.weights.names import diffusers_model
from tests.support import tiny

B, SIDE, WIDTH = 2, 4, 8
VISION = ImageEncoder(weights="openai", channels=6, layers=2, num_heads=2, dim=5, patch=4, size=8)
LINEAR = IPAdapter(tokens=3, encoder=VISION)
PLUS = IPAdapter("resampler", tokens=3, width=8, depth=1, heads=1, encoder=VISION)
FULL = IPAdapter("full", encoder=VISION)
ALL = {"linear": LINEAR, "resampler": PLUS, "full": FULL}
TIMESTEP = jnp.array([3, 12])


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


Z = normal(B, SIDE, SIDE, 2, seed=9)
INPUTS = {"tokens": jnp.arange(8 * B).reshape(B, 8) % 12}


@functools.cache
def base() -> tuple[Base, dict]:
    """A model of captions, and its params."""
    experiment = tiny.experiment()
    small = replace(experiment.model, channel_mults=(1, 2), attention_factors=(1,))
    experiment = replace(experiment, model=small)
    model, params, _ = tiny.model(experiment)
    return Base(experiment, model), params


def prompt(config: IPAdapter, seed=3, images=1):
    places = (VISION.places,) if config.hidden else ()
    return normal(B, images, *places, config.into, seed=seed)


def own_of(config: IPAdapter) -> dict:
    return tiny.drawn(config.build(base()[0]).init, base()[1])


@functools.partial(jax.jit, static_argnums=0)
def predicted(config: IPAdapter, own, image, scale):
    (there, params) = base()
    model = adapted(there.model, {"a": config.build(there)}, {"a": scale})
    params = {**params, "adapters": {"a": own}}
    cond = model.condition(params, {**INPUTS, config.entry: image})
    return model.denoise(params, Z, TIMESTEP, cond)


@pytest.mark.parametrize("name", ALL)
def test_at_scale_0_it_changes_nothing_and_else_it_follows_the_image(name):
    config, (there, params) = ALL[name], base()
    own, image = own_of(config), prompt(ALL[name])
    plain = jax.jit(there.model.denoise)(params, Z, TIMESTEP, there.model.condition(params, INPUTS))
    tiny.assert_close(predicted(config, own, image, 0.0), plain, rtol=0, atol=1e-6)
    at = [predicted(config, own, image, scale) for scale in (0.5, 1.0)]
    assert all(jnp.max(jnp.abs(x - plain)) > 1e-4 for x in at)
    assert jnp.max(jnp.abs(at[0] - at[1])) > 1e-5
    other = predicted(config, own, prompt(config, seed=4), 1.0)
    assert jnp.max(jnp.abs(other - at[1])) > 1e-5


def test_new_keys_and_values_start_as_copies_of_the_texts():
    there, params = base()
    own = LINEAR.build(there).init(jax.random.key(1), params)
    flat, text = table.flattened(own["attention"]), table.flattened(params["denoiser"])
    assert len(flat) == 2 * len(crossing(there.model.backbone.sites)) == 8
    for path, kernel in flat.items():
        np.testing.assert_array_equal(kernel, text[path])


def test_the_tokens_of_an_embedding_are_a_linear_layer_with_a_norm():
    own, e = own_of(LINEAR)["image"], prompt(LINEAR)[:, 0]
    found = image_tokens(LINEAR, own, e[:, None], WIDTH)
    x = (e @ own["project"]["kernel"] + own["project"]["bias"]).reshape(B, 3, WIDTH)
    x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
    tiny.assert_close(found, x * own["norm"]["scale"] + own["norm"]["bias"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_tokens_of_several_images_lie_one_after_the_other(name):
    config = replace(ALL[name], images=2)
    own, two = own_of(ALL[name])["image"], prompt(ALL[name], images=2)
    tokens = jax.jit(image_tokens, static_argnums=(0, 3))
    both = tokens(config, own, two, WIDTH)
    each = [tokens(ALL[name], own, two[:, i : i + 1], WIDTH) for i in (0, 1)]
    tiny.assert_close(both, jnp.concatenate(each, axis=1), rtol=1e-5, atol=1e-5)


def test_the_order_of_the_resamplers_tokens_does_not_count():
    module = Resampler(3, 8, 2, 4, 2, 5)
    x = normal(2, 6, 7)
    params = tiny.drawn(lambda key: module.init(key, x)["params"])
    apply = jax.jit(lambda x: module.apply({"params": params}, x))
    tiny.assert_close(apply(x[:, ::-1]), apply(x), rtol=1e-4, atol=1e-5)
    assert apply(x).shape == (2, 3, 5)
    assert jnp.max(jnp.abs(apply(x[:, :-1]) - apply(x))) > 1e-4


@pytest.mark.parametrize("name", ALL)
def test_files_come_in_and_go_out_bit_for_bit(name, tmp_path):
    config, (there, _) = ALL[name], base()
    own = own_of(config)
    arrays, metadata = config.to_file(own, there)
    write_weights(tmp_path / "ip.safetensors", arrays)
    read, params = IPAdapter.of_file(read_weights(tmp_path / "ip.safetensors"), metadata, there)
    tiny.assert_same(params, own)
    tiny.assert_same(read.to_file(params, there)[0], arrays)
    assert (read.projection, read.into) == (config.projection, config.into)
    assert read.encoder.file is None
    (tmp_path / "image_encoder").mkdir()
    beside, _ = IPAdapter.of_file(arrays, {"folder": str(tmp_path)}, there)
    assert beside.encoder == replace(read.encoder, file=str(tmp_path / "image_encoder"))


def test_bad_files_are_refused_in_one_line():
    there, _ = base()
    arrays, _ = LINEAR.to_file(own_of(LINEAR), there)
    assert IPAdapter.of_file({"a.weight": np.zeros(3)}, {}, there) is None
    sites = there.model.backbone.sites
    wide = {k: np.zeros(s, np.float32) for k, s in table.shapes(LINEAR.table(sites, 2048)).items()}
    with pytest.raises(
        InputError,
        match="for Stable Diffusion XL, with tokens 2048 wide, and the base",
    ):
        IPAdapter.of_file(wide, {}, there)
    del arrays["ip_adapter.7.to_v_ip.weight"]
    with pytest.raises(InputError, match=r"an IP-Adapter of this base: ip_adapter.7.* is missing"):
        IPAdapter.of_file(arrays, {}, there)


def test_a_base_without_tokens_is_refused():
    there, _ = base()
    plain = there._replace(experiment=replace(there.experiment, conditions=()))
    with pytest.raises(InputError, match="adds to cross-attention: expected a base with a UNet"):
        LINEAR.check(plain)
    odd = replace(LINEAR, encoder=replace(VISION, patch=3))
    with pytest.raises(InputError, match=r"adapter.encoder.patch is 3: expected a divisor"):
        odd.check(there)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> ImageEncoder:
    """An image encoder with its weights in a file, beside a text encoder's."""
    path = tmp_path_factory.mktemp("encoder") / "model.safetensors"
    network = CLIPImageEncoder(VISION.architecture, VISION.weights)
    params = tiny.drawn(lambda key: network.init(key, jnp.zeros((1, 8, 8, 3)))["params"])
    state = table.to_original(clip_names.image_encoder(VISION.architecture), params)
    write_weights(path, {**state, "text_model.norm.weight": np.ones(3, np.float32)})
    return replace(VISION, file=str(path.parent))


def test_a_folder_says_which_encoder_it_is_and_is_found_from_elsewhere(
    encoder, tmp_path, monkeypatch
):
    folder = Path(encoder.file)
    (folder / "config.json").write_text(json.dumps(diffusers_model.vision_config(VISION)), "utf-8")
    monkeypatch.chdir(folder.parent)
    found = IPAdapter(encoder=ImageEncoder(file=folder.name)).found()
    monkeypatch.chdir(tmp_path)
    assert found.encoder == encoder
    assert found.encoded([Image.new("RGB", (8, 8))]).shape == (1, VISION.dim)
    # beside the file of an adapter whose channels it has, too
    there, _ = base()
    arrays, metadata = LINEAR.to_file(own_of(LINEAR), there)
    (tmp_path / "image_encoder").symlink_to(folder)
    settings, _ = IPAdapter.of_file(arrays, {**metadata, "folder": str(tmp_path)}, there)
    assert replace(settings.encoder, file=None) == VISION


@pytest.mark.parametrize("name", ALL)
def test_no_image_is_a_zero_embedding_or_the_hidden_states_of_zeros(name, encoder):
    config, (there, _) = replace(ALL[name], encoder=encoder), base()
    null = jax.jit(lambda: config.build(there).null(B, SIDE, SIDE))()["image_prompt"]
    assert null.shape == prompt(config).shape
    zeros = encoder.embedded(np.zeros((1, 8, 8, 3), np.float32), hidden=True)
    if config.hidden:
        np.testing.assert_allclose(null[1, 0], zeros[0], rtol=1e-5, atol=1e-6)
    else:
        assert not jnp.any(null)
    assert config.build(there).dropped == ("image_prompt",)


def read(config, *files):
    found = config.given({"image_prompt": [*map(str, files)]}, (8, 8), Data(image_size=8))
    return found["image_prompt"]


def test_images_are_encoded_in_training_and_in_sampling_alike(encoder, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (11, 8, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    for config in (replace(x, encoder=encoder) for x in (LINEAR, PLUS)):
        derived = config.derive(2)["image_prompt"]({"image": image}, np.random.default_rng(0))
        given = read(config, tmp_path / "a.png")
        np.testing.assert_array_equal(given, derived[None])
        np.save(tmp_path / "a.npy", derived[0])
        np.testing.assert_array_equal(read(config, tmp_path / "a.npy"), derived[None])
        two = read(replace(config, images=2), *[tmp_path / "a.npy"] * 4)
        assert two.shape == (2, 2, *derived.shape[1:])
    with pytest.raises(
        InputError, match=r"'.*a.npy' has shape \(5, 6\): expected \(5,\), outputs of the image"
    ):
        read(replace(LINEAR, encoder=encoder), tmp_path / "a.npy")
    with pytest.raises(InputError, match="--image-prompt has 3 images for an IP-Adapter that"):
        read(replace(PLUS, images=2), *[tmp_path / "a.npy"] * 3)
    with pytest.raises(InputError, match=r"weights are not named: expected encoder\.file"):
        read(LINEAR, tmp_path / "a.png")


def test_beside_others_of_its_kind_it_has_an_entry_of_its_own():
    assert LINEAR.named("style").entry == "image_prompt.style"


def test_keys_and_values_are_computed_once_for_all_timesteps():
    """What `signal` adds is what `encode` gave."""
    there, _ = base()
    adapter = ip_adapter(LINEAR, there.model.backbone.sites, WIDTH)
    hint = adapter.encode(own_of(LINEAR), {"image_prompt": prompt(LINEAR)})
    found = adapter.signal(None, hint, None, None, Cond()).attention
    assert {layer: (k, v) for layer, ((k, v, _),) in found.items()} == hint
    assert all(weight == 1.0 for ((_, _, weight),) in found.values())
