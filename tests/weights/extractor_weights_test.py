"""Published weights of extractors: the names of either file, and one line for what is wrong."""

import hashlib
import re
from collections.abc import Mapping

import jax
import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.extractors.names import MAKERS, extractor
from ldm_jax.weights.formats import download
from ldm_jax.weights.names import extractors
from ldm_jax.weights.names.extractors import KINDS, convert, load_extractor
from ldm_jax.weights.table import flattened, shapes
from tests.support.torch_files import write_zip


def zeros(name: str) -> Mapping[str, np.ndarray]:
    """A state dict of the published names; no memory is behind it."""
    init = flattened(jax.eval_shape(extractor(name).init, jax.random.key(0)))
    table = KINDS[name].table({path: leaf.shape for path, leaf in init.items()})
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes(table).items()}


STATES = {name: zeros(name) for name in extractors.FILES}  # transformers: parity/encoders


@pytest.fixture(autouse=True)
def empty_caches(tmp_path, monkeypatch):
    """Neither this machine's caches nor the net."""
    monkeypatch.setenv("LDM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(download, "find_spec", lambda name: None)
    gone = {
        name: file._replace(url=(tmp_path / "net" / file.url.rpartition("/")[2]).as_uri())
        for name, file in extractors.FILES.items()
    }
    monkeypatch.setattr(extractors, "FILES", gone)


@pytest.mark.parametrize("name", STATES)
def test_the_table_makes_the_tree_of_a_new_network(name):
    network = extractor(name)
    new = flattened(jax.eval_shape(network.init, jax.random.key(0)))
    made = flattened(convert(network, STATES[name]))
    assert {path: w.shape for path, w in made.items()} == {
        path: leaf.shape for path, leaf in new.items()
    }


def test_pytorch_fids_own_module_has_the_same_weights_under_numbers():
    numbers = {
        name: f"blocks.{block}.{layer}"
        for block, names in enumerate(extractors.BLOCKS)
        for layer, name in enumerate(names)
    }
    state = {
        re.sub(r"^\w+", lambda found: numbers.get(found[0], found[0]), key): w
        for key, w in STATES["inception"].items()
    }
    assert "blocks.0.0.conv.weight" in state
    convert(extractor("inception"), state)


def test_a_file_is_read_with_its_digest_and_counters_are_not_missed(tmp_path):
    counters = {"features.0.1.num_batches_tracked": np.zeros((), np.int64)}
    path = write_zip(tmp_path / "x.pth", {**STATES["mobilenet"], **counters})
    found = load_extractor(extractor("mobilenet"), path)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.params["classifier"]["kernel"].shape == (1280, 1000)


def test_weights_of_another_network_name_the_keys(tmp_path):
    path = write_zip(tmp_path / "x.pth", STATES["mobilenet"])
    with pytest.raises(InputError) as error:
        load_extractor(extractor("inception"), path)
    message = str(error.value)
    assert "\n" not in message
    assert f"{path}: not the weights of InceptionV3" in message
    assert "Conv2d_1a_3x3.* is missing: expected 5 weights" in message
    assert "more" in message


@pytest.mark.parametrize("name", STATES)
def test_without_weights_it_is_reported_how_to_get_them(name, tmp_path):
    with pytest.raises(InputError) as error:
        load_extractor(extractor(name))
    message = str(error.value)
    assert "\n" not in message
    assert f"save it as {tmp_path / 'cache'}" in message
    assert "--weights FILE" in message


@pytest.mark.parametrize("name", extractors.BY_PATH)
def test_what_is_not_fetched_is_named_with_where_it_is(name):
    assert set(MAKERS) == {*extractors.FILES, *extractors.BY_PATH}
    with pytest.raises(InputError, match=r"fetch .* of .*, and give it as --weights FILE"):
        load_extractor(extractor(name))
