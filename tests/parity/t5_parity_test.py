"""T5's states equal transformers' (see `make/t5.py`), and its files are read as they are saved."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer, models

from ldm_jax.conditioning.condition import BuildContext
from ldm_jax.config import Captions, T5Text
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.names import t5 as names
from ldm_jax.weights.table import shapes, to_here
from tests.parity import compare
from tests.parity.cases import t5_cases as cases
from tests.parity.folders import ARRAYS
from tests.support import tiny

SMALL = T5Text(
    dim=cases.DIM,
    layers=cases.LAYERS,
    num_heads=cases.HEADS,
    head_dim=cases.HEAD_DIM,
    ff_dim=cases.FF_DIM,
    length=cases.LENGTH,
    vocab_size=cases.PIECES,
    attend_padding=True,
)
NOTHING = Tokenizer(models.WordPiece({"<pad>": 0, "a": 1}, unk_token="<pad>"))
STATE = cases.state(shapes(names.t5(SMALL)))
PARAMS = to_here(names.t5(SMALL), STATE)


def encode(config, params, ids):
    encoder = config.encoder(tokens.fit(NOTHING, cases.LENGTH))
    return encoder.apply(params, ids)


def test_states_and_the_gradient_of_relative_positions_are_transformers():
    def energy(params):
        found = encode(SMALL, params, cases.tokens()).tokens
        return jnp.sum(jnp.square(found)), found

    with np.load(ARRAYS / "t5.npz") as stored, jax.default_matmul_precision("highest"):
        gradient, states = jax.jit(jax.grad(energy, has_aux=True))(PARAMS)
        assert compare.errors(states[:, ::5], stored["tokens"])[1] < 5e-6
        assert compare.errors(gradient["relative"], stored["relative"])[1] < 2e-5


def test_padding_is_masked_unless_the_denoiser_attends_to_it():
    masked = encode(replace(SMALL, attend_padding=False), PARAMS, cases.tokens())
    attended = encode(SMALL, PARAMS, cases.tokens())
    words = cases.tokens() != 0
    assert attended.mask is None and np.array_equal(masked.mask, words)
    np.testing.assert_array_equal(masked.tokens[words], attended.tokens[words])
    assert not np.any(masked.tokens[~words]) and np.all(np.any(attended.tokens, -1))
    np.testing.assert_allclose(masked.pooled[1], masked.tokens[1, :20].mean(0), rtol=1e-5)


@pytest.mark.parametrize("shared", [names.SHARED, names.COPY])
def test_a_folder_is_read_whatever_the_table_of_tokens_is_called(tmp_path, shared):
    state = {shared if key == names.SHARED else key: x for key, x in STATE.items()}
    state |= {"decoder.final_layer_norm.weight": np.ones(4, "f"), "lm_head.weight": np.ones(4, "f")}
    write_weights(tmp_path / "model.safetensors", state)
    NOTHING.save(str(tmp_path / "tokenizer.json"))
    config = replace(SMALL, weights=str(tmp_path))
    tiny.assert_same(config.published(), PARAMS)
    assert config.find_tokenizer(None, list).encode("a").ids == [1] + [0] * (cases.LENGTH - 1)


def test_it_stands_among_other_encoders():
    captions = Captions((replace(SMALL, length=8), replace(SMALL, length=8)), join="sequence")
    captions.check("")
    tokenizers = dict.fromkeys(captions.text_encoders, tokens.fit(NOTHING, 8))
    conditioner = captions.build(BuildContext(tokenizers, None))
    cond = conditioner.apply({"encoder_0": PARAMS, "encoder_1": PARAMS}, conditioner.null(2))
    assert cond.tokens.shape == (2, 16, cases.DIM) and not conditioner.trained


def test_what_is_no_t5_is_refused(tmp_path):
    def refused(message, **changes):
        with pytest.raises(InputError, match=message):
            replace(SMALL, **changes).published()

    refused("weights of T5Text is None: expected a folder")
    refused("has no weights: expected model.safetensors", weights=str(tmp_path))
    old = {key.replace("wi_0", "wi"): x for key, x in STATE.items() if "wi_1" not in key}
    write_weights(tmp_path / "model.safetensors", old)
    refused("is a T5 of version 1.0: expected version 1.1", weights=str(tmp_path))
    write_weights(tmp_path / "model.safetensors", STATE)
    refused("set its dim, layers, num_heads", weights=str(tmp_path), ff_dim=8)
    with pytest.raises(InputError, match=r"tokenizer .* does not exist: expected T5's tokenizer"):
        replace(SMALL, weights=str(tmp_path)).find_tokenizer(None, list)
