"""The safety checker equals diffusers' (see `make/safety.py`)."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from ldm_jax.encoders.clip.concepts import unwanted
from ldm_jax.encoders.clip.vision import Architecture, CLIPImageEncoder
from ldm_jax.errors import InputError
from ldm_jax.sampling import finishing
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.names import safety_checker
from ldm_jax.weights.names.clip import image_encoder
from ldm_jax.weights.table import shapes
from tests.parity.cases import safety_cases as cases
from tests.parity.folders import ARRAYS

with np.load(ARRAYS / "safety.npz") as file:
    STORED = dict(file)


def names() -> dict[str, tuple[int, ...]]:
    """Shapes by the names that diffusers has with transformers 5."""
    of = Architecture(*cases.SIZES)
    found = dict(shapes(image_encoder(of)))
    for name, n in {"special_care_embeds": 3, "concept_embeds": 17}.items():
        found |= {name: (n, of.dim), f"{name}_weights": (n,)}
    return found


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    """A model's folder with the checker, as the published ones are laid out."""
    root = tmp_path_factory.mktemp("model")
    place = root / "safety_checker"
    place.mkdir()
    channels, layers, heads, dim, patch, size = cases.SIZES
    vision = {"hidden_size": channels, "num_hidden_layers": layers, "num_attention_heads": heads}
    vision |= {"patch_size": patch, "image_size": size}
    settings = {"projection_dim": dim, "vision_config": vision}
    (place / "config.json").write_text(json.dumps(settings))
    state = cases.state(names())
    published = {
        f"vision_model.{key}" if "vision_model" in key else key: state[key] for key in state
    }
    write_weights(place / "model.safetensors", published)
    return root


def test_the_names_are_diffusers():
    stored = {key for key in STORED["keys"] if not key.endswith("position_ids")}
    assert stored == set(names())


def test_images_are_prepared_as_theirs():
    shown = [Image.fromarray(image) for image in cases.images()[:2]]
    found = [finishing.prepared(image, cases.SIZES[-1]) for image in shown]
    np.testing.assert_allclose(found, STORED["seen"], atol=1e-5)


def test_the_same_images_are_unwanted(folder):
    checker = safety_checker.load(folder)
    with jax.default_matmul_precision("highest"):
        encoder = CLIPImageEncoder(checker.encoder)
        shown = [Image.fromarray(image) for image in cases.images()]
        x = np.stack([finishing.prepared(image, checker.encoder.size) for image in shown])
        found = np.asarray(encoder.apply({"params": checker.params}, x))
        expected = STORED["embeddings"]
        assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max()
        seen = finishing.look(checker, cases.images(), 4)
    np.testing.assert_array_equal(seen, STORED["unwanted"])
    assert 0 < seen.sum() < len(seen)
    np.testing.assert_array_equal(unwanted(checker.concepts, expected), STORED["unwanted"])


def test_another_networks_weights_are_refused(folder, tmp_path):
    place = folder / "safety_checker"
    (tmp_path / "config.json").write_text((place / "config.json").read_text())
    state = cases.state(names())
    del state["concept_embeds"]
    write_weights(tmp_path / "model.safetensors", state)
    with pytest.raises(InputError, match="lacks concept_embeds: expected a safety checker"):
        safety_checker.load(tmp_path)
