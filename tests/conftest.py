"""What several tests share: data, and one small trained run."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # where numbers repeat bit for bit; read on import

import jax
import pytest
import tiny

from ldm_jax import training

# the tests compile far more than they compute
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session", autouse=True)
def tfds_data_dir(tmp_path_factory):
    """Data sets are prepared in a folder of this session, never in the user's."""
    place = tmp_path_factory.mktemp("tfds_data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(place))
        yield place


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """Sixteen captioned and labelled images."""
    return tiny.write_folder(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="session")
def trained_run(image_folder, tmp_path_factory):
    """The run of `tiny.experiment`, both stages trained without a pause; not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    training.train(tiny.with_pictures(tiny.experiment(image_folder)), run)
    return run
