"""StyleAdapter: its tokens are those of the original, attended to behind the text's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.adapters.adapter import Window, adapted
from ldm_jax.adapters.image_encoder import ImageEncoder
from ldm_jax.adapters.settings import Base
from ldm_jax.adapters.style_adapter import StyleAdapter
from ldm_jax.conditioning import Label
from ldm_jax.encoders.style import Style
from ldm_jax.errors import InputError
from ldm_jax.types import Cond
from ldm_jax.weights import table as tables
from ldm_jax.weights.names import style_adapter as names
from tests.parity import compare
from tests.parity.cases import style_adapter as cases
from tests.parity.folders import ARRAYS
from tests.support import tiny

B, SIDE = 2, 4
ENCODER = ImageEncoder(channels=8, num_heads=2, patch=2, size=4)  # 5 places
CONFIG = StyleAdapter(tokens=2, depth=1, heads=2, encoder=ENCODER)
TEXT = {"tokens": jnp.array([[1, 2, 3, 0, 0, 0, 0, 0], [4, 5, 6, 7, 0, 0, 0, 0]])}


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


STYLE = normal(B, 5, 8, seed=1)


@pytest.fixture(scope="module")
def base():
    experiment = tiny.experiment()
    model, params, _ = tiny.model(experiment)
    there = Base(experiment, model)
    own = tiny.drawn(lambda key: CONFIG.build(there).init(key, params))
    return there, params, own


@pytest.fixture(scope="module")
def predicted(base):
    there, params, own = base
    shape = (B, SIDE, SIDE, there.model.first_stage.channels)
    z, timestep = normal(*shape, seed=2), jnp.array([3, 12])

    @jax.jit
    def with_style(style, scale):
        model = adapted(there.model, {"a": CONFIG.build(there)}, {"a": scale})
        whole = {**params, "adapters": {"a": own}}
        cond = model.precompute(whole, model.condition(whole, {**TEXT, "style": style}))
        return model.denoise(whole, z, timestep, cond)

    @jax.jit
    def of_tokens(*more):
        text = there.model.condition(params, TEXT).tokens
        cond = Cond(tokens=jnp.concatenate([text, *more], axis=1))
        return there.model.denoise(params, z, timestep, cond)

    return with_style, of_tokens


def test_tokens_are_the_originals():
    sizes = cases.SIZES
    of = names.Sizes(sizes["num_token"], sizes["width"], sizes["n_layes"], sizes["context_dim"])
    rows = names.table(of)
    shapes = tables.shapes(rows)
    assert names.recognised(shapes) == of
    params = tables.to_here(rows, cases.state(shapes))
    network = Style(of.tokens, of.depth, cases.HEADS, of.into)
    with np.load(ARRAYS / "style_adapter.npz") as reference:
        tokens = network.apply({"params": params}, cases.X)
        assert compare.errors(tokens, reference["tokens"])[1] < 1e-5


def test_they_are_attended_to_behind_the_texts_times_the_scale(base, predicted):
    there, _, own = base
    with_style, of_tokens = predicted
    style, _ = CONFIG.build(there).encode(own, {"style": STYLE})
    tiny.assert_close(with_style(STYLE, 0.5), of_tokens(0.5 * style), rtol=0, atol=1e-5)
    assert jnp.max(jnp.abs(with_style(STYLE, 0.5) - of_tokens())) > 1e-4


def test_at_scale_0_and_outside_of_its_steps_nothing_changes(predicted):
    with_style, of_tokens = predicted
    for scale in (0.0, Window(jnp.float32(2.0), jnp.float32(1.0), jnp.float32(-jnp.inf))):
        found = with_style(STYLE, jnp.float32(scale) if scale == 0.0 else scale)
        np.testing.assert_allclose(found, of_tokens(), rtol=0, atol=1e-6)


def test_without_an_image_the_text_s_last_tokens_stand_there(base, predicted):
    there, params, _ = base
    with_style, of_tokens = predicted
    text = there.model.condition(params, TEXT).tokens
    found = with_style(jnp.zeros_like(STYLE), jnp.float32(3.0))
    tiny.assert_close(found, of_tokens(text[:, -2:]), rtol=0, atol=1e-5)


def test_a_file_comes_back(base):
    there, _, own = base
    arrays, metadata = CONFIG.to_file(own, there)
    assert sum(key.startswith("transformer_layes.0.") for key in arrays) == 12
    config, params = StyleAdapter.of_file(arrays, metadata, there)
    assert (config.tokens, config.depth, config.encoder.channels) == (2, 1, 8)
    tiny.assert_same(params, own)
    assert StyleAdapter.of_file({"a.weight": np.ones(2)}, {}, there) is None


def test_what_does_not_go_with_a_base_is_refused(base):
    wide = {"style_embedding": np.ones((1, 8, 16)), "proj": np.ones((16, 768))}
    with pytest.raises(InputError, match="is for Stable Diffusion 1, with tokens 768 wide"):
        StyleAdapter.of_file(wide, {}, base[0])
    alone = tiny.experiment(conditions=(Label(3, 8),))
    with pytest.raises(InputError, match="appends tokens to the text's: expected a base that"):
        CONFIG.check(Base(tiny.experiment(conditions=()), None))
    with pytest.raises(InputError, match=r"adapter.heads is 3: expected a divisor"):
        StyleAdapter(heads=3, encoder=ENCODER).check(Base(alone, None))
