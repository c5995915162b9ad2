"""PyTorch's files: the numbers that were written, nothing run, and bad files named."""

import zipfile

import ml_dtypes
import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.weights.formats.torch_file import Placeholder, read_torch, state_dict
from tests.support.torch_files import (
    WRITERS,
    Built,
    Call,
    Global,
    View,
    contiguous,
    write_legacy,
    write_zip,
)

both = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
DTYPES = [np.dtype(n) for n in ("float64", "float32", "float16", "int64", "uint8", "bool")]
DTYPES.append(np.dtype(ml_dtypes.bfloat16))
ORDERED_DICT = Global("collections", "OrderedDict")


def ordered(items: dict):
    """How torch pickles a state dict, with the versions of its modules."""
    pairs = [list(pair) for pair in items.items()]
    return Built(Call(ORDERED_DICT, (pairs,)), {"_metadata": {"": {"version": 1}}})


@both
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_of_number_is_read(tmp_path, write, dtype):
    numbers = np.asarray([[0, 1, 3], [1, 0, 100]]).astype(dtype)
    read = read_torch(write(tmp_path / "x.pth", {"first": np.ones(5), "x": numbers}))["x"]
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, numbers)


@both
def test_views_of_one_storage(tmp_path, write):
    storage = np.arange(12.0, dtype="f")
    grid = storage.reshape(3, 4)
    tree = {
        "rows": View(storage, (2, 4), (4, 1), offset=4),
        "transposed": View(storage, (4, 3), (1, 4)),
        "every_other": View(storage, (3, 2), (4, 2)),
        "expanded": View(storage, (2, 4), (0, 1)),
        "scalar": View(storage, (), (), offset=7),
        "empty": View(storage, (0, 3), (3, 1)),
    }
    read = read_torch(write(tmp_path / "x.pth", tree))
    np.testing.assert_array_equal(read["rows"], grid[1:])
    np.testing.assert_array_equal(read["transposed"], grid.T)
    np.testing.assert_array_equal(read["every_other"], grid[:, ::2])
    np.testing.assert_array_equal(read["expanded"], [grid[0], grid[0]])
    assert read["scalar"] == 7
    assert read["empty"].shape == (0, 3)


@both
def test_arrays_lie_in_the_file_until_they_are_used(tmp_path, write):
    path = write(tmp_path / "x.pth", {"x": np.arange(4, dtype="f")})
    read = read_torch(path)["x"]
    assert not read.flags.owndata
    assert not read.flags.writeable
    content = path.read_bytes()
    place = content.index(np.arange(4, dtype="f").tobytes())
    with path.open("r+b") as file:  # what the array shows changes with the file
        file.seek(place)
        file.write(np.float32(7).tobytes())
    assert read.tolist() == [7, 1, 2, 3]


@both
def test_a_training_checkpoint_with_classes_that_nobody_knows(tmp_path, write):
    scalar = Call(Global("numpy.core.multiarray", "scalar"), (Global("numpy", "dtype"), "\x00"))
    early_stopping = Global("lightning.callbacks", "EarlyStopping")
    parameter = Call(
        Global("torch._utils", "_rebuild_parameter"),
        (contiguous(np.ones(3, "f")), True, Call(ORDERED_DICT, ())),
    )
    tree = {
        "epoch": 3,
        "global_step": scalar,
        "callbacks": {early_stopping: Built(Call(early_stopping, (1,)), {"best": scalar})},
        "state_dict": ordered({"a.weight": np.full((2, 2), 0.5, "f"), "a.bias": parameter}),
        "sizes": Call(Global("torch", "Size"), ([1, 2],)),
    }
    read = read_torch(write(tmp_path / "x.ckpt", tree))
    assert read["epoch"] == 3
    assert read["sizes"] == (1, 2)
    assert isinstance(read["global_step"], Placeholder)
    weights, notes = state_dict(read, "x.ckpt")
    assert not notes
    assert weights.keys() == {"a.weight", "a.bias"}
    assert weights["a.weight"].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert weights["a.bias"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("nesting", [(), ("state_dict",), ("model",), ("params",)])
def test_weights_may_be_nested(nesting):
    tree = {"x": np.ones(3), "version": 2}
    for name in nesting:
        tree = {name: tree, "optimizer": {"step": np.ones(())}}
    assert list(state_dict(tree, "x.pth")[0]) == ["x"]


@both
@pytest.mark.parametrize(
    "function",
    [("os", "system"), ("posix", "system"), ("subprocess", "Popen"), ("builtins", "exec")],
    ids=".".join,
)
def test_a_harmful_file_is_refused_and_does_not_run(tmp_path, write, function):
    trace = tmp_path / "trace"
    program = f"open({str(trace)!r}, 'w')" if "exec" in function else f"touch {trace}"
    tree = {"x": np.ones(3), "y": Call(Global(*function), (program,))}
    path = write(tmp_path / "x.pth", tree)
    with pytest.raises(InputError, match=r"x\.pth calls .*" + function[1]):
        read_torch(path)
    assert not trace.exists()


@both
def test_what_is_not_known_to_be_harmful_does_not_run_either(tmp_path, write):
    """Not even through getattr, or an attribute of what is known."""
    trace = tmp_path / "trace"
    getattr_ = Global("builtins", "getattr")
    tree = [
        Call(Global("pathlib", "Path.touch"), (Call(Global("pathlib", "Path"), (str(trace),)),)),
        Call(Call(getattr_, (Global("pathlib", "Path"), "touch")), (str(trace),)),
        Call(Global("collections", "OrderedDict.__init__.__globals__"), ()),
    ]
    read = read_torch(write(tmp_path / "x.pth", tree))
    assert all(isinstance(node, Placeholder) for node in read)
    assert not trace.exists()


@both
def test_a_state_cannot_change_the_reader(tmp_path, write):
    for maker in (ORDERED_DICT, Global("torch._utils", "_rebuild_tensor_v2")):
        tree = Built(maker, ({}, {"items": None, "__defaults__": None, "tensor": None}))
        with pytest.raises(InputError, match="damaged"):
            read_torch(write(tmp_path / "bad.pth", tree))
    good = write(tmp_path / "good.pth", ordered({"x": np.ones(2)}))
    assert state_dict(read_torch(good), good)[0]["x"].tolist() == [1, 1]


@both
def test_a_file_cut_short_anywhere(tmp_path, write):
    path = write(tmp_path / "x.pth", {"a": np.ones((4, 4), "f"), "b": np.ones(3, "f")})
    content = path.read_bytes()
    for size in range(0, len(content), 13):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"x\.pth.*: expected .*; fetch|damaged"):
            read_torch(path)


@both
def test_a_tensor_outside_of_its_storage(tmp_path, write):
    path = write(tmp_path / "x.pth", {"x": View(np.ones(4, "f"), (5,), (1,))})
    with pytest.raises(InputError, match="damaged"):
        read_torch(path)


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / "x.pth"
    for content, message in [
        (b"<!DOCTYPE html>", "begins with"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\x80\x02}q\x00.", "begins with"),
        (b"PK\x03\x04", "damaged"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_torch(path)
    with pytest.raises(InputError, match="is no file"):
        read_torch(tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pictures/0.png", b"")
    with pytest.raises(InputError, match=r"without data\.pkl"):
        read_torch(path)
    write_zip(path, {"x": np.ones(3)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed"):
        read_torch(path)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (Call(Global("torchvision.models", "VGG"), ()), r"<torchvision\.models\.VGG>"),
        ({"epoch": 3, "lr": 0.1}, r"'epoch', 'lr'"),
        ({"state_dict": {"a": Call(Global("torch._utils", "_rebuild_qtensor"), ())}}, "a is made"),
    ],
)
def test_files_without_weights(tmp_path, tree, message):
    path = write_legacy(tmp_path / "x.pth", tree)
    with pytest.raises(InputError, match=message):
        state_dict(read_torch(path), path)


def test_modules_of_torchscript_are_read_by_their_names(tmp_path):
    weight, scale = np.arange(6, dtype=np.float16).reshape(2, 3), np.ones(1, "f")

    def module(name, **state):
        return Built(Call(Global("__torch__.clip", name), ()), {"training": False, **state})

    tree = module("CLIP", visual=module("Vision", proj=weight, act=None), logit_scale=scale)
    path = write_zip(tmp_path / "x.pt", tree)
    with zipfile.ZipFile(path, "a") as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        archive.writestr(name.replace("data.pkl", "constants.pkl"), b"\x80\x02).")
    found, _ = state_dict(read_torch(path), path)
    assert set(found) == {"visual.proj", "logit_scale"}
    assert found["visual.proj"].dtype == np.float16
    np.testing.assert_array_equal(found["visual.proj"], weight)
    np.testing.assert_array_equal(found["logit_scale"], scale)
