"""What several tests share: compiled programs, data, and small trained runs."""

import fcntl
import gc
import importlib.metadata
import os
import resource
import shutil
import sys
import types
import zlib
from pathlib import Path

# Read when jax is imported, by the processes that tests start too. On CPUs numbers repeat bit for
# bit. Compiled programs are kept between tests, workers and runs: most of the time goes there.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parents[1] / ".pytest_cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
if importlib.metadata.version("jaxlib").startswith("0.10."):  # others may not know the flags
    ENVIRONMENT["XLA_FLAGS"] = (  # compilation takes half the time
        "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
        "--xla_llvm_force_inline_before_split=false"
    )
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)

import jax
import pytest
from jax._src import compilation_cache

import sample
from ldm_jax import checkpoint, cli, runs, training
from ldm_jax.config import Label
from ldm_jax.data import pipeline
from ldm_jax.runtime import memory
from ldm_jax.train_step.optimizer import optimizer
from ldm_jax.train_step.state import minimise, new_state
from tests.support import built_once, tiny, traced_once

# tests trace and compile far more than they compute
jax.config.update("jax_disable_most_optimizations", True)
compilation_cache.zlib = types.SimpleNamespace(  # compressing takes long and saves a quarter
    compress=lambda program: zlib.compress(program, level=0), decompress=zlib.decompress
)
traced_once.use()
built_once.use()


@pytest.fixture(scope="session", autouse=True)
def tfds_data_dir(tmp_path_factory):
    """Data sets are prepared in a folder of this session, never in the user's."""
    place = tmp_path_factory.mktemp("tfds_data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(place))
        yield place


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """What the tools keep for later launches is kept for this session only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDM_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_collection_modifyitems(items):
    """Tests that start processes come first, so that no worker is left alone with one of them."""
    items.sort(key=lambda item: item.get_closest_marker("process") is None)


def held() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if file.exists() else 0


LARGE = [3 * 2**29]  # bytes; more once that much is held whatever is given up


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Between files, a process that has grown large gives up programs and traces."""
    if held() > LARGE[0] and (nextitem is None or nextitem.path != item.path):
        traced_once.forget()
        built_once.forget()
        jax.clear_caches()
        gc.collect()
        memory.give_back()
        LARGE[0] = max(LARGE[0], held() + 2**29)


def pytest_terminal_summary(terminalreporter):
    """Says how much memory the largest process had; workers, and what they started, are over."""
    if sys.platform.startswith("linux"):
        each = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        largest = max(resource.getrusage(who).ru_maxrss for who in each) / 2**20
        terminalreporter.write_line(f"the largest process had {largest:.2f} GiB")


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """once(name, make) -> the folder `name`, written by make(folder) in one of the workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make) -> Path:
        folder = shared / "once" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            if not folder.with_suffix(".made").exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed halfway
                make(folder)
                folder.with_suffix(".made").touch()
        return folder

    return once


@pytest.fixture(scope="session")
def own_copy(once, tmp_path_factory):
    """own_copy(name, make) -> what `once` gives, copied for this worker."""

    def own_copy(name: str, make) -> Path:
        folder = once(name, make)
        return shutil.copytree(folder, tmp_path_factory.mktemp("runs") / folder.name)

    return own_copy


@pytest.fixture(scope="session")
def image_folder(once):
    """Sixteen captioned and labelled images."""
    return once("images", tiny.write_folder)


@pytest.fixture(scope="session")
def trained_run(image_folder, own_copy):
    """The run of `tiny.experiment`, both stages trained without a pause; not to be changed."""
    experiment = tiny.with_images(tiny.experiment(image_folder))
    return own_copy("tiny", lambda run: training.train(experiment, run))


@pytest.fixture(scope="session")
def class_run(image_folder, own_copy):
    """A run of class labels with random weights: the outputs of a new network are zero. Not to be
    changed."""
    return own_copy("classes", lambda run: write_class_run(run, image_folder))


def write_class_run(run: Path, images: Path) -> None:
    condition = Label(num_classes=len(tiny.COLORS), dim=8)
    experiment = tiny.experiment(images, conditions=(condition,))
    source, info = pipeline.open_source(experiment.data)
    model = experiment.build()
    params = {**tiny.drawn(model.init), "first_stage": tiny.drawn(model.first_stage.init)}
    params["conditioner"] = jax.tree.map(lambda x: 5.0 * x, params["conditioner"])  # seen clearly
    state = new_state(
        params, optimizer(experiment.optim, 1), minimise(None, ("denoiser", "conditioner"))
    )
    data = pipeline.batches(experiment.data, source, seed=0, keys=("label",))
    runs.write(run, experiment, {}, info)
    with checkpoint.manager(run) as saves:
        checkpoint.save(saves, state, data)


@pytest.fixture(scope="session")
def caption_run(own_copy):
    """A run of captions with random weights. Not to be changed, but for samples in it."""
    return own_copy("captions", write_caption_run)


def write_caption_run(run: Path) -> None:
    experiment = tiny.experiment()
    _, params, tokenizer = tiny.model(experiment)
    runs.write_imported(run, experiment, params, None, {"tokens": tokenizer})


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Runs sample.py with words in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def draw(*words):
        monkeypatch.setattr(sys, "argv", ["sample.py", *map(str, words)])
        cli.main(sample.main)

    return draw
