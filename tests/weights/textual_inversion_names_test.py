"""Files of textual inversion: read in each layout, and written."""

import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.formats.torch_writer import write_tree
from ldm_jax.weights.names import textual_inversion as names
from tests.support import torch_files
from tests.support.torch_files import Built, Call, Global

X = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
PAIR = {"clip_l": X, "clip_g": 2 * X[:, :4]}
# as the original's code saves them
MODULE = Built(
    Call(Global("torch.nn.modules.container", "ParameterDict"), ()),
    {"training": True, "_parameters": {"*": X}, "_buffers": {}},
)
ORIGINAL = {"string_to_token": {"*": np.array(265)}, "string_to_param": MODULE}
WEBUI = {
    "string_to_token": {"*": 265},
    "string_to_param": {"*": X},
    "name": "my-style",
    "step": 200,
    "sd_checkpoint": None,
}


def read(path):
    file = read_weights(path)
    return names.read(file, file.metadata)


@pytest.mark.parametrize("write", [torch_files.write_zip, torch_files.write_legacy])
@pytest.mark.parametrize(
    ("tree", "word", "existing"),
    [
        (ORIGINAL, "*", True),
        (WEBUI, "my-style", False),
        ({"<toy>": X}, "<toy>", False),
        ({"model": X}, "model", False),
    ],
)
def test_pickles(tmp_path, write, tree, word, existing):
    found = read(write(tmp_path / "x.pt", tree))
    np.testing.assert_array_equal(found.vectors, [X])
    assert (found.word, found.existing) == (word, existing)


def test_one_vector_of_the_first_version_of_diffusers(tmp_path):
    found = read(torch_files.write_zip(tmp_path / "learned_embeds.bin", {"<toy>": X[0]}))
    np.testing.assert_array_equal(found.vectors, [X[:1]])


@pytest.mark.parametrize(
    ("arrays", "word"), [({"<toy>": X}, "<toy>"), ({"emb_params": X}, None), (PAIR, None)]
)
def test_safetensors(tmp_path, arrays, word):
    write_weights(tmp_path / "x.safetensors", arrays)
    found = read(tmp_path / "x.safetensors")
    assert (found.word, found.existing) == (word, False)
    for x, there in zip(found.vectors, arrays.values(), strict=True):
        np.testing.assert_array_equal(x, there)


def test_what_is_written_is_read_bit_for_bit(tmp_path):
    write_weights(tmp_path / "x.safetensors", names.safetensors("<toy>", [X]))
    with (tmp_path / "x.pt").open("wb") as file:
        write_tree(file, names.automatic1111("<toy>", X))
    with (tmp_path / "x.bin").open("wb") as file:
        write_tree(file, names.safetensors("<toy>", [X]))
    for name in ("x.safetensors", "x.pt", "x.bin"):
        found = read(tmp_path / name)
        np.testing.assert_array_equal(found.vectors, [X])
        assert (found.word, found.existing) == ("<toy>", False)
    both = names.safetensors("<toy>", list(PAIR.values()))
    assert both.keys() == PAIR.keys()
    assert all(both[key] is PAIR[key] for key in PAIR)


def test_half_precision_becomes_single():
    found = names.read({"<toy>": X.astype(np.float16)}, {})
    assert found.vectors[0].dtype == np.float32
    np.testing.assert_array_equal(found.vectors[0], X.astype(np.float16))


@pytest.mark.parametrize("arrays", [{}, {"a": X, "b": X}, {"a.weight": X}, {"a": X[None]}])
def test_other_files_are_none(arrays):
    assert names.read(arrays, {}) is None


def test_a_file_with_code_is_refused(tmp_path):
    evil = {**WEBUI, "step": Call(Global("os", "system"), ("touch " + str(tmp_path / "made"),))}
    path = torch_files.write_zip(tmp_path / "x.pt", evil)
    with pytest.raises(InputError, match=r"x.pt calls os.system, which no weights need"):
        read_weights(path)
    assert not (tmp_path / "made").exists()


def test_unusable_vectors_are_refused():
    with pytest.raises(InputError, match=r"vectors for 2 words \(.*a, .*b\): expected one word"):
        names.read({f"{names.PARAM}a": X, f"{names.PARAM}b": X}, {})
    with pytest.raises(InputError, match="has 1 of 18 values that are NaN"):
        names.read({"<toy>": np.where(X.max() == X, np.nan, X)}, {})
    with pytest.raises(InputError, match=r"shape \(2, 3, 6\): expected vectors \[n, d\]"):
        names.read({f"{names.PARAM}*": np.stack([X, X])}, {})
