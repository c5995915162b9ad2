"""A folder with GLIDE's noised CLIP is read, and refused where it does not fit the model."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ldm_jax.encoders.clip.noised import NoisedCLIPModel
from ldm_jax.errors import InputError
from ldm_jax.sampling.clip_guidance import FILES, CLIPGuidance
from ldm_jax.sampling.size import Size
from ldm_jax.sections import RunView
from ldm_jax.types import Conditioner
from ldm_jax.weights import table
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.names import glide as names

OF = NoisedCLIPModel(
    dim=16,
    size=16,
    patch=8,
    vision_channels=64,
    vision_layers=2,
    vision_heads=1,
    timesteps=20,
    text_channels=64,
    text_layers=1,
    text_heads=1,
    length=6,
    vocab_size=70,
)
REQUEST = SimpleNamespace(size=Size())


def run(size, T=20):
    model = SimpleNamespace(process=SimpleNamespace(T=T), conditioner=Conditioner(None, None, ()))
    return RunView(Path("run"), model, None, size, 1, 3)


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("clip")
    tables = {"vision": names.noised_image_encoder(OF), "text": names.noised_text_encoder(OF)}
    for part, rows in tables.items():
        state = {k: np.full(s, 0.5, np.float32) for k, s in table.shapes(rows).items()}
        write_weights(where / FILES[part], state)
    return str(where)


def test_the_model_is_known_by_its_shapes_and_every_weight_is_read(folder):
    of, params = CLIPGuidance(clip=folder).load()
    assert of == OF
    assert set(params["clip"]) == {"vision", "text"}
    assert params["clip"]["vision"]["patches"]["project"]["kernel"].shape == (8 * 8 * 3, 64)


def test_it_guides_three_times_where_nothing_else_is_said(folder):
    assert CLIPGuidance(clip=folder).fill(REQUEST, run(16)).clip_scale == 3.0
    given = CLIPGuidance(clip=folder, clip_scale=0.5)
    assert given.fill(REQUEST, run(16)).clip_scale == 0.5


def test_what_does_not_fit_is_refused(folder, tmp_path):
    for view in (run(32), run(16, T=1000)):
        with pytest.raises(InputError, match=r"16 x 16 pixels at 20 levels of noise: expected"):
            CLIPGuidance(clip=folder).fill(REQUEST, view)
    with pytest.raises(InputError, match=r"is no folder: expected one with clip_image_enc\.pt"):
        CLIPGuidance(clip=str(tmp_path / "a")).load()
    rows = names.noised_image_encoder(replace(OF, vision_layers=1))
    state = {k: np.zeros(s, np.float32) for k, s in table.shapes(rows).items()}
    for name in FILES.values():
        write_weights(tmp_path / name, state)
    with pytest.raises(InputError, match=r"--clip has no w_voc: expected GLIDE's"):
        CLIPGuidance(clip=str(tmp_path)).load()
