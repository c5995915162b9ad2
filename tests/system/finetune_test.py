"""A model of diffusers fine-tuned on a few images, and taken back."""

import re

import numpy as np
import pytest

from ldm_jax import cli, convert, runs, sampling
from ldm_jax.data import latents
from ldm_jax.weights.formats.files import read_weights
from tests.convert.diffusers_model_test import folder  # noqa: F401
from tests.support import tiny
from tests.support.finetuned import CONFIG, finetune


@pytest.fixture(scope="module")
def done(folder, image_folder, tmp_path_factory):  # noqa: F811
    """The folder that came in, and what `finetune` gives."""
    there, _ = folder("text")
    return there, *finetune(there, image_folder, tiny.SIZE, tmp_path_factory.mktemp("finetune"))


def test_it_is_the_config_for_it(done):
    given, found = cli.load_config(CONFIG), runs.load_config(done[2])
    assert found.loss == given.loss and found.loss.weight == "min_snr"
    assert found.conditions[0].drop == given.conditions[0].drop == 0.1
    assert latents.is_latents(found.data.path)


def test_attention_learns_and_nothing_else(done):
    there, _, _, exported = done
    changed = set()
    for name in ("unet", "vae", "text_encoder"):
        (a,), (b,) = ((f / name).glob("*.safetensors") for f in (there, exported))
        a, b = read_weights(a), read_weights(b)
        assert a.keys() == b.keys()
        changed |= {f"{name}/{key}" for key in a if np.any(a[key] != b[key])}
    assert changed
    for key in changed:
        assert re.fullmatch(r"unet/.*\.transformer_blocks\.\d+\.attn[12]\..*", key)
    assert all(float(row["loss"]) > 0 for row in tiny.rows(done[2]))


def test_what_goes_out_draws_what_was_trained(done, tmp_path):
    _, before, after, exported = done
    convert.convert(exported, tmp_path / "again")
    photos = []
    for run in (before, after, tmp_path / "again"):
        trained = runs.load(run)
        asked = sampling.resolve(trained, prompt=["ab"], num=1, steps=2, sampler="ddim", seed=0)
        photos.append(sampling.draw(trained, asked).images)
    np.testing.assert_array_equal(photos[1], photos[2])
    assert np.any(photos[0] != photos[1])
