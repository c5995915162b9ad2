"""Published weights of LPIPS: wherever they lie, the same parameters; whatever is wrong, named."""

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.losses.lpips import lpips
from ldm_jax.weights.formats import download
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.names import lpips as published
from ldm_jax.weights.names.lpips import load_lpips
from ldm_jax.weights.table import flattened, shapes, to_here
from tests.support.torch_files import WRITERS, write_legacy, write_zip

RNG = np.random.default_rng(0)
# SqueezeNet is the smallest
WHOLE = {
    key: RNG.standard_normal(shape, dtype=np.float32)
    for key, shape in shapes(published.table("squeeze", whole=True)).items()
}
HEADS = {key: w for key, w in WHOLE.items() if key.startswith("lin")}
TRUNK = {re.sub(r"net\.slice\d", "features", key): w for key, w in WHOLE.items()}
TRUNK = {key: w for key, w in TRUNK.items() if key.startswith("features.")}
CLASSIFIER = TRUNK | {"classifier.1.weight": np.ones((10, 512, 1, 1), "f")}
PARAMS = to_here(published.table("squeeze", whole=True), WHOLE)
HEADS_NAME, TRUNK_NAME = "squeeze.pth", "squeezenet1_1-b8a52dc0.pth"


@pytest.fixture(autouse=True)
def empty_caches(tmp_path, monkeypatch):
    """Neither this machine's caches nor the net."""
    monkeypatch.setenv("LDM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(download, "find_spec", lambda name: None)
    set_urls(monkeypatch, tmp_path / "net")


def set_urls(monkeypatch, net: Path, sha256=None) -> None:
    """Lets the published files of SqueezeNet be at file: URLs in a folder."""
    files = {
        part: file._replace(
            url=(net / file.name).as_uri(), sha256=(sha256 or {}).get(file.name, "0")
        )
        for part, file in published.FILES["squeeze"].items()
    }
    monkeypatch.setitem(published.FILES, "squeeze", files)


def assert_loaded(params):
    found, expected = flattened(params), flattened(PARAMS)
    assert found.keys() == expected.keys()
    for path, w in expected.items():
        assert found[path].dtype == np.float32
        np.testing.assert_array_equal(found[path], w, err_msg=path)


@pytest.mark.parametrize("network", published.FILES)
@pytest.mark.parametrize("whole", [True, False])
def test_the_table_makes_the_tree_of_a_new_network(network, whole):
    new = jax.eval_shape(lpips(network).init, jax.random.key(0))
    rows = published.table(network, whole)
    state = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes(rows).items()}
    converted = flattened(to_here(rows, state))
    assert {p: w.shape for p, w in converted.items()} == {
        p: w.shape for p, w in flattened(new).items()
    }


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_folder_with_both_files(tmp_path, write):
    write(tmp_path / HEADS_NAME, HEADS)
    write(tmp_path / "squeezenet1_1-f364aa15.pth", CLASSIFIER)
    assert_loaded(load_lpips("squeeze", tmp_path))


def test_a_file_with_everything(tmp_path):
    constants = {"scaling_layer.shift": np.ones(3, "f"), "net.slice2.5.filt": np.ones(3, "f")}
    copies = {f"lins.{n}.model.1.weight": WHOLE[f"lin{n}.model.1.weight"] for n in range(7)}
    assert_loaded(load_lpips("squeeze", write_zip(tmp_path / "x.pth", WHOLE | constants | copies)))
    write_weights(tmp_path / "x.safetensors", WHOLE)
    assert_loaded(load_lpips("squeeze", str(tmp_path / "x.safetensors")))


def test_the_loss_inside_the_checkpoint_of_a_first_stage(tmp_path):
    state = {f"loss.perceptual_loss.{key}": w for key, w in WHOLE.items()}
    state |= {
        "encoder.conv_in.weight": np.ones((4, 3, 3, 3), "f"),
        "loss.logvar": np.zeros((), "f"),
    }
    path = write_zip(tmp_path / "model.ckpt", {"epoch": 3, "state_dict": state})
    assert_loaded(load_lpips("squeeze", path))


@pytest.mark.parametrize("given", [HEADS_NAME, TRUNK_NAME])
def test_one_file_finds_the_other_next_to_it(tmp_path, given):
    write_zip(tmp_path / HEADS_NAME, HEADS)
    write_zip(tmp_path / TRUNK_NAME, CLASSIFIER)
    assert_loaded(load_lpips("squeeze", tmp_path / given))


def test_an_installed_package_is_read_but_not_imported(tmp_path, monkeypatch):
    """The heads' package imports torch, which here would be an error."""
    inside = tmp_path / "site" / "lpips" / "weights" / "v0.1"
    inside.mkdir(parents=True)
    (tmp_path / "site" / "lpips" / "__init__.py").write_text("raise ImportError('no torch')")
    write_legacy(inside / HEADS_NAME, HEADS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(download, "find_spec", find_spec)
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    write_zip(hub / TRUNK_NAME, CLASSIFIER)
    assert_loaded(load_lpips("squeeze"))


def served(tmp_path) -> dict[str, str]:
    """Puts the published files behind the URLs; returns their sha256."""
    net = tmp_path / "net"
    net.mkdir()
    files = write_zip(net / HEADS_NAME, HEADS), write_zip(net / TRUNK_NAME, CLASSIFIER)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:8] for path in files}


def test_files_are_fetched_once(tmp_path, monkeypatch):
    set_urls(monkeypatch, tmp_path / "net", served(tmp_path))
    assert_loaded(load_lpips("squeeze"))
    for path in (tmp_path / "net").iterdir():
        path.unlink()
    assert_loaded(load_lpips("squeeze"))


def test_a_file_with_another_digest_is_not_kept(tmp_path, monkeypatch):
    set_urls(monkeypatch, tmp_path / "net", served(tmp_path) | {TRUNK_NAME: "b8a52dc0"})
    with pytest.raises(InputError, match=rf"{TRUNK_NAME} has sha256 .*: expected b8a52dc0; fetch"):
        load_lpips("squeeze")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"lpips-{HEADS_NAME}"]


def test_what_cannot_be_fetched_names_every_other_way(tmp_path):
    with pytest.raises(InputError) as error:
        load_lpips("squeeze")
    message = str(error.value)
    assert "\n" not in message
    assert (tmp_path / "net" / HEADS_NAME).as_uri() in message
    assert f"save it as {tmp_path / 'cache' / 'lpips-squeeze.pth'}" in message
    assert "pip install --no-deps lpips" in message
    write_zip(tmp_path / HEADS_NAME, HEADS)
    with pytest.raises(InputError, match="pip install --no-deps stlpips-pytorch"):
        load_lpips("squeeze", tmp_path / HEADS_NAME)


def test_a_folder_without_the_backbone(tmp_path):
    write_zip(tmp_path / HEADS_NAME, HEADS)
    with pytest.raises(InputError, match=rf"holds no {TRUNK_NAME}: expected what is at"):
        load_lpips("squeeze", tmp_path)


def test_weights_of_another_network_name_the_keys(tmp_path):
    path = write_zip(tmp_path / "x.pth", WHOLE)
    with pytest.raises(InputError) as error:
        load_lpips("alex", path)
    message = str(error.value)
    assert f"{path}: not the weights of LPIPS with alex (alex.pth and alexnet-owt" in message
    assert "net.slice1.0.weight has shape (64, 3, 3, 3): expected (64, 3, 11, 11)" in message
    assert "net.slice2.* is missing: expected " in message


def test_heads_of_another_network_are_refused_before_a_backbone_is_fetched(tmp_path):
    path = write_zip(tmp_path / "x.pth", HEADS)
    for network, wrong in {
        "vgg": r"lin3\.model\.1\.weight has shape \(1, 384, 1, 1\): expected \(1, 512, 1, 1\)",
        "vgg_shift_tolerant": r"net\.\* is missing",
    }.items():
        with pytest.raises(InputError, match=wrong):
            load_lpips(network, path)
    path = write_zip(tmp_path / "y.pth", {"fc.weight": np.ones((2, 2), "f")})
    with pytest.raises(InputError, match=r"fc\.weight \(2, 2\) is unexpected"):
        load_lpips("squeeze", path)


def test_a_missing_key_is_named(tmp_path):
    state = dict(WHOLE)
    del state["net.slice4.9.expand1x1.bias"]
    with pytest.raises(InputError, match=r"net\.slice4\.9\.expand1x1\.bias is missing"):
        load_lpips("squeeze", write_zip(tmp_path / "x.pth", state))


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_cut_short(tmp_path, write):
    path = write(tmp_path / "x.pth", WHOLE)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"x\.pth is cut short or damaged"):
        load_lpips("squeeze", path)


def test_an_unknown_network():
    with pytest.raises(InputError, match="'vgg19': expected one of vgg, alex"):
        load_lpips("vgg19")
