"""PyTorch's checkpoints (.pth, .pt, .ckpt, .bin), read without PyTorch and without running them.

A checkpoint is a pickle: a program that may call whatever it names. Here a name stands for one of
the few makers of plain data below, or for a `Placeholder`, which takes everything and does nothing.
So the weights of a training checkpoint are read although nothing here knows the callbacks and
optimizers beside them. Arrays are views of the memory-mapped file: what is not used is not read.

The two formats, little-endian:
    zip (torch 1.6 and later): NAME/data.pkl, and each storage, not compressed, in NAME/data/KEY;
        of TorchScript, which CLIP's authors gave out, the tree is modules instead of a dict
    legacy: pickles of a magic number, a version, the system, the tree and the storages' keys;
        then of each key the number of elements (int64) and the elements
"""

import io
import mmap
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401
import numpy as np

from ldm_jax.errors import InputError

MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")  # as the first pickle of a legacy file has it

STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",  # the tensor names its type
}
DTYPES = {
    name: np.dtype(name)  # ml_dtypes, imported, gives numpy bfloat16 and float8
    for name in {*STORAGES.values(), "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"}
}
# Nothing that a pickle names can run here. But a file that names these was made to do harm.
HARMFUL_MODULES = {"os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "pty", "runpy"}
HARMFUL_MODULES |= {"importlib", "ctypes", "code", "webbrowser"}
HARMFUL_BUILTINS = {"eval", "exec", "execfile", "compile", "open", "__import__", "breakpoint"}


class Placeholder:
    """A placeholder for an object of an unknown class, which ignores everything done to it.

    `kind` is the name of that class.
    """

    kind = ""

    def __new__(cls, *_, **__):
        return object.__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __repr__(self) -> str:
        return f"<{self.kind}>"

    def _nothing(self, *_, **__) -> "Placeholder":
        return self

    __call__ = __setstate__ = __setitem__ = append = extend = add = _nothing


class _Dict(dict):
    """An OrderedDict; the attributes that torch gives to one (`_metadata`) are left out."""

    def __setstate__(self, _):
        pass


class _ParameterDict(dict):
    """A dict that is a module of torch."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state.get("_parameters", {}))


class _Module(dict):
    """A module of TorchScript: its arrays and those of the modules inside, by dotted names."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, held in state.items():
            if isinstance(held, _Module):
                self.update({f"{name}.{inside}": array for inside, array in held.items()})
            elif isinstance(held, np.ndarray):
                self[name] = held


class _Storage(NamedTuple):
    dtype: np.dtype
    data: memoryview | None  # None while the places of a legacy file are not known yet
    offset: int  # of element 0 of the view, in elements


class _Unpickler(pickle.Unpickler):
    """Builds a tree of dicts, lists, numbers, strings, arrays and placeholders.

    Args:
        locate: (key, dtype) of a storage -> its bytes.
    """

    def __init__(self, stream, locate: Callable[[str, np.dtype], memoryview | None]):
        super().__init__(stream, encoding="latin1")  # of strings that Python 2 wrote
        self.locate = locate
        self.makers = {
            ("collections", "OrderedDict"): _Dict,
            ("torch.nn.modules.container", "ParameterDict"): _ParameterDict,
            ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor"): self.tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
            ("torch._utils", "_rebuild_tensor_v3"): self.typed_tensor,
            ("torch._utils", "_rebuild_parameter"): self.parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): self.parameter,
            ("torch._tensor", "_rebuild_from_type_v2"): self.subclass,
        }

    def find_class(self, module: str, name: str) -> Any:
        """The object for a name in the pickle; nothing is imported, no attribute is read."""
        if (module, name) in self.makers:
            return self.makers[module, name]
        if module.partition(".")[0] == "__torch__":
            return _Module
        if module.partition(".")[0] == "torch" and name in STORAGES:
            return STORAGES[name]
        if module == "torch" and name in DTYPES:
            return name
        builtin = module in ("builtins", "__builtin__")
        if module.partition(".")[0] in HARMFUL_MODULES or (builtin and name in HARMFUL_BUILTINS):
            raise InputError(f"calls {module}.{name}, which no weights need: do not use this file")
        return type("Placeholder", (Placeholder,), {"kind": f"{module}.{name}"})

    def persistent_load(self, saved: tuple) -> Any:
        """What the pickle keeps outside of itself: the storages, and the source of modules."""
        kind, what, *rest = saved
        if kind != "storage":
            return what
        key, _device, _count, *view = rest
        if what not in DTYPES:
            kind = getattr(what, "kind", what)
            raise InputError(f"holds a {kind}: expected numbers of a type of {sorted(DTYPES)}")
        dtype = DTYPES[what]
        offset = view[0][1] if view and view[0] else 0  # legacy: (key, offset, count) or None
        return _Storage(dtype, self.locate(key, dtype), offset)

    def tensor(self, storage: _Storage, offset, size, stride, *_) -> np.ndarray | None:
        """A view of a storage; size and stride in elements."""
        dtype, data, start = storage
        if data is None:
            return None
        if 0 in size:
            return np.zeros(size, dtype)
        strides = [n * dtype.itemsize for n in stride]
        return np.ndarray(size, dtype, data, (start + offset) * dtype.itemsize, strides)

    def typed_tensor(self, storage, offset, size, stride, _grad, _hooks, dtype, *_):
        """A view of a storage without a type."""
        return self.tensor(storage._replace(dtype=DTYPES[dtype]), offset, size, stride)

    def parameter(self, data, *_):
        """A parameter is its array."""
        return data

    def subclass(self, make, _class, arguments, _state):
        """So is a tensor that has attributes."""
        return make(*arguments)


def _read_zip(path: Path, data: memoryview) -> Any:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    if "data.pkl" not in members:
        raise InputError("is a zip without data.pkl: expected what torch.save writes")

    def content(name: str) -> memoryview:
        info = members[name]
        if info.compress_type != zipfile.ZIP_STORED:
            raise InputError("is a compressed zip: expected it as torch.save writes it")
        # the local header: 30 bytes, of which the last four are the lengths of what follows
        header = data[info.header_offset : info.header_offset + 30]
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        start = info.header_offset + 30 + lengths
        return data[start : start + info.file_size]

    if "byteorder" in members and content("byteorder") != b"little":
        raise InputError("is big-endian: expected the file of a little-endian machine")
    pickled = io.BytesIO(content("data.pkl"))
    return _Unpickler(pickled, lambda key, dtype: content(f"data/{key}")).load()


def _read_legacy(stream: mmap.mmap, data: memoryview) -> Any:
    # the places of the storages come after the tree, which therefore is read twice
    sizes: dict[str, int] = {}
    for _ in range(3):
        _Unpickler(stream, lambda key, dtype: None).load()
    tree = stream.tell()
    _Unpickler(stream, lambda key, dtype: sizes.update({key: dtype.itemsize})).load()
    keys = _Unpickler(stream, lambda key, dtype: None).load()
    position, places = stream.tell(), {}
    for key in keys:
        size = sizes[key] * int.from_bytes(data[position : position + 8], "little")
        position += 8
        places[key] = data[position : position + size]
        position += size
    if position > len(data):
        raise EOFError(f"{len(data)} bytes of at least {position}")
    stream.seek(tree)
    return _Unpickler(stream, lambda key, dtype: places[key]).load()


def read_torch(path: str | Path) -> Any:
    """The tree in a PyTorch file, tensors being read-only arrays that the file backs.

    What is not known here, such as a callback or an optimizer, is a `Placeholder`.

    Raises:
        InputError: the file is missing, not PyTorch's, cut short, damaged, or made to do harm.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is no file: expected PyTorch weights (.pth, .pt, .ckpt, .bin)")
    with path.open("rb") as file:
        head = file.read(64)
        stream = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if head else None
    try:
        if head.startswith(b"PK"):
            return _read_zip(path, memoryview(stream))
        if MAGIC in head:
            return _read_legacy(stream, memoryview(stream))
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    except Exception as error:  # a damaged pickle may raise anything
        detail = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"{path} is cut short or damaged ({detail}): expected a whole PyTorch file; "
            "fetch or copy it again"
        ) from error
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git LFS pointer: expected the weights; run git lfs pull")
    raise InputError(
        f"{path} is no PyTorch file (it begins with {head[:16]!r}): expected what torch.save "
        "writes; fetch it again, or convert it to .safetensors"
    )


# names under which a file holds a network, the usual first
USUAL = ("state_dict", "model_state_dict", "model", "module", "params", "network", "net", "weights")
AVERAGED = re.compile(r"(^|_)(ema|averaged?)(_|$)")
NO_NETWORK = re.compile(r"optim|sched|scaler|rng|callback|loops|hparams|hyper|config|args")
KIND = {"string_to_param"}  # of dicts whose name tells the kind of file, and stays
DEEPEST = 6  # dicts in dicts


def state_dict(tree: Any, path: str | Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The weights in the tree of a file, and what is to be said of the choice.

    They may be in dicts of the USUAL names, in a single dict, or in one for each part of a network.
    Averages of the same weights come first. Plain numbers and strings are left out.

    Args:
        path: of the file, for what is said where there are none.

    Raises:
        InputError: there are no arrays, or an entry is of a kind that cannot be read.
    """
    found = dict(_networks(tree if isinstance(tree, dict) else {}, (), set()))
    counters = {place for place, held in found.items() if not any(map(np.ndim, held.values()))}
    if len(counters) < len(found):
        found = {place: held for place, held in found.items() if place not in counters}
    usual = [place for place in found if all(name in USUAL for name in place)]
    averaged = [place for place in found if any(map(AVERAGED.search, place))]
    notes: tuple[str, ...] = ()
    if usual:
        chosen = min(usual, key=lambda place: (not place, [USUAL.index(name) for name in place]))
        weights = found[chosen]
        for place in averaged:
            if found[place].keys() == weights.keys():
                weights = found[place]
                notes = (f"averaged weights ({'.'.join(place)}) instead of the last ones",)
    elif len(found) == 1 and KIND.isdisjoint(*found):
        (weights,) = found.values()
    else:  # parts of one
        parts = [(".".join(place), held) for place, held in found.items()]
        weights = {f"{place}.{name}": x for place, held in parts for name, x in held.items()}
    for name, entry in weights.items():
        if isinstance(entry, Placeholder):
            raise InputError(
                f"{path}: {name} is made by {entry.kind}: expected a dense, unquantized tensor"
            )
    if not weights:
        shown = ", ".join(map(repr, list(tree)[:5])) if isinstance(tree, dict) else repr(tree)[:80]
        raise InputError(
            f"{path} holds no weights ({shown}): expected a dict of tensors by name; save "
            "network.state_dict()"
        )
    return weights, notes


def _networks(
    tree: dict, place: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], dict]]:
    """The dicts that hold weights, by the names on the way to them; each is visited once."""
    seen.add(id(tree))
    own = {
        str(name): x
        for name, x in tree.items()
        if isinstance(x, np.ndarray)
        or (isinstance(x, Placeholder) and x.kind.startswith("torch._utils._rebuild"))
    }
    if own:
        yield place, own
    for name, inside in tree.items():
        known = id(inside) in seen or NO_NETWORK.search(str(name))
        if isinstance(inside, dict) and len(place) < DEEPEST and not known:
            yield from _networks(inside, (*place, str(name)), seen)
