"""The names of an IP-Adapter's weights: the published (tencent-ailab/IP-Adapter), and those that
its training writes."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ldm_jax.errors import InputError
from ldm_jax.weights.names.layers import dense, norm
from ldm_jax.weights.table import DENSE, Layout, Row, Shape, State, Table, renamed

IMAGE, ATTENTION = "image_proj.", "ip_adapter."
TRAINER = {"image_proj_model.": IMAGE, "adapter_modules.": ATTENTION}
HEAD = 64  # channels of a head of all published resamplers
Settings = Any  # of an IP-Adapter
# [1, n, C] there
QUERIES = Layout(lambda w: w[0], lambda w, shape: w.reshape(shape))


def projection(config: Settings, into: int, width: int) -> Table:
    """Rows of what makes tokens of an image.

    Args:
        into: channels of the image encoder's output.
        width: of the tokens.
    """
    here, there = "image/", IMAGE
    if config.projection == "linear":
        return [
            *dense(f"{here}project", f"{there}proj", into, config.tokens * width),
            *norm(f"{here}norm", f"{there}norm", width),
        ]
    if config.projection == "full":
        return [
            *dense(f"{here}in", f"{there}proj.0", into, into),
            *dense(f"{here}out", f"{there}proj.2", into, width),
            *norm(f"{here}norm", f"{there}proj.3", width),
        ]
    return resampler(config, into, width)


def resampler(config: Settings, into: int, width: int) -> Table:
    """Rows of a resampler."""
    C, inner = config.width, config.heads * config.head_channels
    table = [Row("image/queries", (f"{IMAGE}latents",), (1, config.tokens, C), QUERIES)]
    table += dense("image/in", f"{IMAGE}proj_in", into, C)
    for n in range(config.depth):
        here, there = f"image/block_{n}", f"{IMAGE}layers.{n}"
        table += norm(f"{here}/norm1", f"{there}.0.norm1", C)
        table += norm(f"{here}/norm2", f"{there}.0.norm2", C)
        table += dense(f"{here}/q", f"{there}.0.to_q", C, inner, bias=False)
        table += dense(f"{here}/kv", f"{there}.0.to_kv", C, 2 * inner, bias=False)
        table += dense(f"{here}/attended", f"{there}.0.to_out", inner, C, bias=False)
        table += norm(f"{here}/norm3", f"{there}.1.0", C)
        table += dense(f"{here}/ff_in", f"{there}.1.1", C, 4 * C, bias=False)
        table += dense(f"{here}/ff_out", f"{there}.1.3", 4 * C, C, bias=False)
    table += dense("image/out", f"{IMAGE}proj_out", C, width)
    return table + norm("image/norm", f"{IMAGE}norm_out", width)


def attention(layers: Mapping[str, int], width: int) -> Table:
    """Rows of keys and values.

    Args:
        layers: cross-attention layer -> its channels, in the published order (down, up, middle).
    """
    table: Table = []
    for i, (layer, channels) in enumerate(layers.items()):
        for part in ("k", "v"):
            # before each cross-attention there is a self-attention, which counts too
            key = (f"{ATTENTION}{2 * i + 1}.to_{part}_ip.weight",)
            path = f"attention/{layer}/{part}/kernel"
            table.append(Row(path, key, (channels, width), DENSE))
    return table


class Found(NamedTuple):
    """An adapter, by the keys and shapes in a file."""

    into: int  # channels of the image encoder's output
    width: int  # of the tokens
    settings: dict[str, Any]  # fields of an IP-Adapter


def published(state: State, modules: Callable[[], Sequence[str]]) -> State | None:
    """The weights of a file by their published names; None: it holds something else.

    Args:
        modules: the cross-attention layers as diffusers calls them, in the published order; only
            where training wrote keys and values as parts of the UNet.
    """
    found: dict[str, str] = {}
    inside = re.compile(r"unet\.(.*)\.processor\.to_([kv])_ip\.weight")
    for key in state:
        prefix = next((prefix for prefix in TRAINER if key.startswith(prefix)), "")
        if match := inside.fullmatch(key):
            layers = list(modules())
            number = 2 * layers.index(match[1]) + 1 if match[1] in layers else match[1]
            found.setdefault(f"{ATTENTION}{number}.to_{match[2]}_ip.weight", key)
        elif not key.startswith("unet."):
            found[TRAINER.get(prefix, "") + key.removeprefix(prefix)] = key
    first, second = (any(key.startswith(part) for key in found) for part in (IMAGE, ATTENTION))
    return renamed(state, found) if first and second else None


def recognised(shapes: Mapping[str, Shape]) -> Found:
    """What the shapes of an adapter, by its published names, say.

    Raises:
        InputError: its projection is none of those known here.
    """
    image = {k.removeprefix(IMAGE): shape for k, shape in shapes.items() if k.startswith(IMAGE)}
    sizes = {key: shape[0] for key, shape in image.items() if shape}
    if {"proj.weight", "norm.weight"} <= image.keys():
        rows, into = image["proj.weight"]
        width = sizes["norm.weight"]
        return Found(into, width, {"projection": "linear", "tokens": rows // width})
    if {"proj.0.weight", "proj.3.weight"} <= image.keys():
        into, width = sizes["proj.0.weight"], sizes["proj.3.weight"]
        return Found(into, width, {"projection": "full"})
    if {"latents", "proj_in.weight", "proj_out.weight", "layers.0.0.to_q.weight"} <= image.keys():
        depth = 1 + max(int(key.split(".")[1]) for key in image if key.startswith("layers."))
        _, tokens, width = image["latents"]
        heads = sizes["layers.0.0.to_q.weight"] // HEAD
        settings = {"tokens": tokens, "width": width, "depth": depth, "heads": heads}
        into = image["proj_in.weight"][1]
        return Found(into, sizes["proj_out.weight"], {"projection": "resampler", **settings})
    raise InputError(
        f"the IP-Adapter has {', '.join(sorted(image)[:4])} of {len(image)} weights of its "
        "projection: expected those of IP-Adapter, Plus, Plus-Face or Full; FaceID is not known"
    )
