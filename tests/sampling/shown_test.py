"""Images decoded by another first stage, and what is expected on the way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldm_jax import runs, sampling
from ldm_jax.config import FirstStageExperiment, TinyAutoencoder
from ldm_jax.errors import InputError
from tests.support import tiny

TINY = TinyAutoencoder(channels=4, blocks=(1, 1), z_channels=2)
ASKED = {"num": 2, "batch_size": 2, "prompt": ["a red block at the top"]}


def write_stage(run, config):
    params = tiny.drawn(config.build().init)
    runs.write_imported(run, FirstStageExperiment(model=config), params)
    return str(run)


@pytest.fixture(scope="module", name="model")
def _model(caption_run):
    return runs.load(caption_run)


@pytest.fixture(scope="module", name="tiny_run")
def _tiny_run(tmp_path_factory):
    return write_stage(tmp_path_factory.mktemp("stages") / "tiny", TINY)


def test_previews_are_written_and_the_image_stays_as_it_is(
    draw, caption_run, model, tiny_run, capsys
):
    draw(
        caption_run, "--num", 2, "--batch-size", 2, "--prompt", ASKED["prompt"][0], "--out", "a",
        "--preview-every", 2, "--preview-with", tiny_run,
    )  # fmt: skip
    assert f"previews every 2 steps by '{tiny_run}'" in capsys.readouterr().out
    found = sorted(path.name for path in Path("a/previews").iterdir())
    assert found == ["000000-002.png", "000000-004.png", "000001-002.png", "000001-004.png"]
    plain = sampling.draw(model, sampling.resolve(model, **ASKED)).images
    with Image.open("a/000001.png") as image:
        np.testing.assert_allclose(np.asarray(image).astype(int), plain[1], atol=1)
    said = sampling.png_metadata.read("a/000001.png")["request"]["decoding"]
    assert said["preview_every"] is said["preview_with"] is None


def test_the_last_preview_of_ddim_is_the_image_and_the_first_is_not(model):
    """The last step of DDIM goes to what is expected before it."""
    asked = sampling.resolve(model, **ASKED, sampler="ddim", eta=0.0, preview_every=1)
    drawn = sampling.draw(model, asked)
    assert drawn.previews.shape == (2, 4, tiny.SIZE, tiny.SIZE, 3)
    last = drawn.previews[:, -1].astype(int)
    np.testing.assert_allclose(last, drawn.images, atol=1)
    assert np.any(np.abs(drawn.previews[:, 0].astype(int) - drawn.images) > 1)


def test_another_decoder_makes_the_image_of_the_same_latents(model, tiny_run, tmp_path):
    both = {"decode_with": tiny_run, "preview_every": 4}
    drawn = sampling.draw(model, sampling.resolve(model, **ASKED, **both))
    np.testing.assert_allclose(drawn.previews[:, -1].astype(int), drawn.images, atol=1)
    own = sampling.draw(model, sampling.resolve(model, **ASKED)).images
    assert np.any(np.abs(drawn.images.astype(int) - own) > 1)
    # the model's own first stage by itself, without the scale that the model has
    stage = model.experiment.first_stage.model
    params = {**model.params["first_stage"], "shift": np.zeros(2), "scale": np.ones(2)}
    params = {name: params[name] for name in model.params["first_stage"]}
    runs.write_imported(tmp_path / "kl", FirstStageExperiment(model=stage), params)
    same = sampling.resolve(model, **ASKED, decode_with=str(tmp_path / "kl"))
    np.testing.assert_allclose(sampling.draw(model, same).images.astype(int), own, atol=1)


def test_first_stages_of_other_latents_and_steps_that_are_not_there_are_refused(model, tmp_path):
    wide = write_stage(tmp_path / "wide", replace(TINY, z_channels=4))
    with pytest.raises(InputError, match=r"--decode-with .* of 4 channels: expected 2, as those"):
        sampling.resolve(model, decode_with=wide)
    deep = write_stage(tmp_path / "deep", replace(TINY, blocks=(1, 1, 1)))
    with pytest.raises(InputError, match=r"--preview-with .* of 4 pixels a latent: expected 2"):
        sampling.resolve(model, preview_with=deep, preview_every=1)
    with pytest.raises(InputError, match="without --preview-every: expected both"):
        sampling.resolve(model, preview_with=deep)
    for every in (0, 5):
        with pytest.raises(InputError, match=f"--preview-every is {every}: expected 1 to 4"):
            sampling.resolve(model, preview_every=every)
    with pytest.raises(InputError, match="'none' does not exist"):
        sampling.resolve(model, decode_with="none")
