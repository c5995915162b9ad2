"""InstantID: a face beside the text, and in place of it in IdentityNet; its five points."""

import functools
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ldm_jax import convert, runs
from ldm_jax.adapters import face_network
from ldm_jax.adapters.adapter import Window, adapted
from ldm_jax.adapters.instant_id import InstantID, drawn_points
from ldm_jax.adapters.settings import Base
from ldm_jax.config import AdapterExperiment
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.runs.adapters import NAME
from ldm_jax.runs.digest import model_digest
from ldm_jax.sampling.request import resolve
from ldm_jax.sampling.view import view
from ldm_jax.types import Cond
from ldm_jax.weights.formats.torch_file import read_torch
from tests.support import tiny

B, SIDE = 2, 4
CONFIG = InstantID(6, tokens=2, width=8, depth=1, heads=1, stem=(4, 6), radius=1, half_width=0.5)
TIMESTEP = jnp.array([3, 12])


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


Z, FACE, POINTS = normal(B, SIDE, SIDE, 2), normal(B, 6, seed=1), normal(B, 8, 8, 3, seed=2)
TOKENS = {"tokens": jnp.arange(8 * B).reshape(B, 8) % 12}


@functools.cache
def base() -> tuple[Base, dict, dict]:
    """A model of captions, its params, and those of the adapter."""
    model, params, _ = tiny.model(tiny.experiment())
    there = Base(tiny.experiment(), model)
    CONFIG.check(there)
    return there, params, tiny.drawn(CONFIG.build(there).init, params)


@pytest.fixture(autouse=True, scope="module")
def _made():
    """The arrays are made before a program that has them is traced."""
    base()


@jax.jit
def _predicted(own, face, points, scale):
    there, params, _ = base()
    model = adapted(there.model, {"a": CONFIG.build(there)}, {"a": scale})
    params = {**params, "adapters": {"a": own}}
    cond = model.condition(params, {**TOKENS, "face": face, "points": points})
    return model.denoise(params, Z, TIMESTEP, cond)


def predicted(face, points, scale=1.0, own=None, **scales):
    sites = CONFIG.by_site(base()[0], scales)
    over_time = Window(jnp.float32(scale), jnp.inf, -jnp.inf, sites)
    return _predicted(own or base()[2], face, points, over_time)


def plain():
    there, params, _ = base()
    return jax.jit(there.model.denoise)(params, Z, TIMESTEP, there.model.condition(params, TOKENS))


def apart(a, b) -> float:
    return float(jnp.max(jnp.abs(a - b)))


def test_face_and_points_both_count_each_by_its_scale():
    whole = predicted(FACE, POINTS)
    assert apart(predicted(-FACE, POINTS), whole) > 1e-4
    assert apart(predicted(FACE, -POINTS), whole) > 1e-4
    assert apart(predicted(FACE, POINTS, face_scale=0.0), whole) > 1e-4
    # without IdentityNet the points do not count
    no_points = predicted(FACE, POINTS, identity_scale=0.0)
    assert apart(no_points, whole) > 1e-4
    assert apart(no_points, predicted(FACE, -POINTS, identity_scale=0.0)) == 0
    tiny.assert_close(predicted(FACE, POINTS, 0.0), plain(), rtol=0, atol=1e-6)


def test_freshly_made_its_identity_net_changes_nothing():
    there, params, _ = base()
    own = jax.jit(CONFIG.build(there).init)(jax.random.key(1), params)
    fresh = predicted(FACE, POINTS, own=own, face_scale=0.0)
    tiny.assert_close(fresh, plain(), rtol=0, atol=1e-6)


def test_identity_net_attends_to_the_face_and_not_to_the_text():
    there, _, own = base()
    adapter = CONFIG.build(there)
    hint = adapter.encode(own, {"face": FACE, "points": POINTS})
    assert hint["tokens"].shape == (B, 2, 8)

    @jax.jit
    def added(tokens, hint):
        return adapter.signal(own, hint, Z, TIMESTEP, Cond(tokens=tokens)).added

    text = normal(B, 3, 8, seed=4)
    tiny.assert_same(added(text, hint), added(-text, hint))
    other = added(text, {**hint, "tokens": -hint["tokens"]})
    assert apart(other["mid"], added(text, hint)["mid"]) > 1e-4


def test_without_a_face_its_embedding_is_zero_and_the_points_stay():
    adapter = CONFIG.build(base()[0])
    null = adapter.null(3, SIDE, SIDE)
    assert adapter.dropped == ("face",)
    assert not jnp.any(null["face"]) and null["face"].shape == (3, 6)
    assert null["points"].shape == (3, 8, 8, 3)


def test_points_are_discs_over_dimmed_limbs_to_the_nose():
    points = [(40, 40), (88, 40), (64, 64), (44, 90), (84, 90)]
    image = drawn_points(points, (128, 120))
    assert image.shape == (128, 120, 3)
    colors = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1]]
    for (x, y), color in zip(points, colors, strict=True):
        np.testing.assert_array_equal(image[y, x], color)
        np.testing.assert_array_equal(image[y, x + 10], color)
    np.testing.assert_allclose(image[52, 52], [153 / 255, 0, 0], atol=1e-6)  # between
    np.testing.assert_allclose(image[77, 74], [153 / 255, 0, 153 / 255], atol=1e-6)
    assert not image[5, 5].any() and not image[64, 110].any()
    assert not image[56, 44].any()  # beside a limb, which is 8 pixels wide


def given(face, *hints):
    return CONFIG.given({"face": [face], "hint": [*hints]}, (16, 16), Data(image_size=16))


def test_points_are_given_as_an_image_or_drawn_of_numbers(tmp_path):
    face, points = str(tmp_path / "face.npy"), [[0.2, 0.3], [0.8, 0.3], [0.5, 0.5]]
    points += [[0.3, 0.8], [0.7, 0.8]]
    np.save(face, np.ones((3, 6), np.float32))
    (tmp_path / "two.json").write_text(json.dumps([points, points]))
    np.save(tmp_path / "one.npy", np.float32(points))
    # training draws them, too
    example = {"points": np.float32(points), "image": np.zeros((16, 16, 3), np.uint8)}
    drawn = CONFIG.derive(2)["points"](example, np.random.default_rng(0))
    np.testing.assert_allclose(drawn[12, 4], [1, 1, 0], atol=1e-6)  # 0.8 of 16, less a half
    Image.fromarray(np.uint8(255 * drawn)).save(tmp_path / "one.png")
    for name, count in {"two.json": 2, "one.npy": 1, "one.png": 1}.items():
        found = given(face, str(tmp_path / name))
        assert found["face"].shape == (3, 6) and len(found["points"]) == count
        np.testing.assert_allclose(found["points"][-1], drawn, atol=0.5 / 255 + 1e-6)


def test_bad_faces_and_points_are_refused_in_one_line(tmp_path):
    for name, x in {
        "face": np.ones(6),
        "wide": np.ones(7),
        "points": np.full((5, 2), 30.0),
    }.items():
        np.save(tmp_path / f"{name}.npy", np.float32(x))
    face, wide, pixels = (str(tmp_path / f"{x}.npy") for x in ("face", "wide", "points"))
    for files, fragment in (
        ((wide, pixels), "wide.npy' has shape (7,): expected (6,), an embedding"),
        (("nowhere.npy", pixels), "--face 'nowhere.npy' cannot be read (["),
        ((face, pixels), "has values up to 30: expected points in parts of the image"),
        ((face, face), "face.npy' has shape (6,): expected (5, 2), x and y of eyes"),
    ):
        with pytest.raises(InputError) as error:
            given(*files)
        assert fragment in str(error.value)
    example = {"face": np.ones(7), "name": "a.png"}
    with pytest.raises(InputError, match=r"of a.png has 7 numbers: expected adapter.face_dim 6"):
        CONFIG.derive(2)["face"](example, None)


def test_a_face_network_embeds_images_in_training_and_in_sampling(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(face_network, "embedded", lambda x, file: seen.append(x) or np.ones(128))
    config, face = replace(CONFIG, face_dim=128, network="dlib"), str(tmp_path / "face.png")
    image = np.full((16, 16, 3), 200, np.uint8)
    Image.fromarray(image).save(face)
    assert config.fields == ("points",)
    example = {"image": image, "points": np.full((5, 2), 0.5) + np.eye(5, 2) / 4}
    config.derive(2)["face"](example, np.random.default_rng(0))
    assert config.read_face(face, Data(image_size=16)).shape == (1, 128)
    assert [x.shape for x in seen] == [(150, 150, 3)] * 2
    with pytest.raises(InputError, match=r"adapter.face_dim is 6: expected 128, those of adapter"):
        replace(config, face_dim=6).check(base()[0])


def test_without_its_file_a_face_network_is_refused():
    with pytest.raises(InputError, match=r"adapter.network_file is not set: expected model/face"):
        face_network.embedded(np.zeros((150, 150, 3), np.uint8), None)


@pytest.fixture(scope="module")
def placed(caption_run, tmp_path_factory):
    """A run of captions, and an InstantID of it: a run, and the folder that is written of it."""
    trained = runs.load(caption_run)
    there = Base(trained.experiment, trained.model, trained.tokenizers)
    own = tiny.drawn(CONFIG.build(there).init, trained.params)
    experiment = AdapterExperiment(
        base=str(caption_run), base_digest=model_digest(trained.params), adapter=CONFIG
    )
    folder = tmp_path_factory.mktemp("instant")
    runs.write_imported(folder / "run", experiment, {"adapters": {NAME: own}})
    convert.convert(folder / "run", folder / "files")
    return caption_run, folder, own


def test_its_folder_is_as_published_and_comes_back_bit_for_bit(placed, tmp_path):
    base, folder, own = placed
    (there,) = runs.attach(runs.describe(base), [str(folder / "files")]).adapters
    assert there.settings.beside_text == replace(CONFIG, face="face.files").beside_text
    tiny.assert_same(there.read(), own)
    tmp_path /= "again"
    there.settings.write(tmp_path, there.read(), there.base)
    described = json.loads((tmp_path / "ControlNetModel/config.json").read_text())
    assert described["conditioning_embedding_out_channels"] == [4, 6]
    for name in ("ip-adapter.bin", "ControlNetModel/diffusion_pytorch_model.safetensors"):
        assert (tmp_path / name).read_bytes() == (folder / "files" / name).read_bytes()
    tree = read_torch(tmp_path / "ip-adapter.bin")
    assert tree.keys() == {"image_proj", "ip_adapter"}
    assert tree["image_proj"]["latents"].shape == (1, 2, 8)
    assert tree["ip_adapter"]["1.to_k_ip.weight"].shape[1] == 8


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"hint": ("a.json",)}, "adapter 'run' has no face: expected --face FACE.npy"),
        ({"face": ("a.npy",)}, "adapter 'run' has no hint: expected --hint IMAGE"),
        ({"identity_scale": -1.0}, "identity-scale is -1"),
    ],
)
def test_a_request_names_what_is_missing(options, fragment, placed):
    base, folder, _ = placed
    adapter = [str(folder / "run")]
    with pytest.raises(InputError) as error:
        resolve(runs.attach(runs.describe(base), adapter), num=1, adapter=adapter, **options)
    assert fragment in str(error.value)


def test_scales_are_options(placed, tmp_path):
    base, folder, _ = placed
    np.save(tmp_path / "face.npy", np.ones(6, np.float32))
    np.save(tmp_path / "points.npy", np.full((5, 2), 0.5, np.float32))
    adapter = [f"{folder / 'files'}:0.5"]
    described = runs.attach(runs.describe(base), adapter)
    request = resolve(
        described,
        num=1,
        adapter=adapter,
        face=(str(tmp_path / "face.npy"),),
        hint=(str(tmp_path / "points.npy"),),
        face_scale=0.25,
    )
    scales = request.adapters.scales(request, view(described))["files"]
    assert float(scales("mid", TIMESTEP[0])) == pytest.approx(0.5 * 0.8)
    assert float(scales("mid_attn/block_0/cross", TIMESTEP[0])) == pytest.approx(0.5 * 0.25)
    assert "--face-scale 0.25" in request.faces.describe(request, view(described))
