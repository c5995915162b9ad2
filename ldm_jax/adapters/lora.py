"""Low-rank adaptation of weights (Hu et al. 2021): W + scale * alpha / rank * down up."""

import math
import re
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from ldm_jax.adapters.settings import AdapterSettings, Base
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1, Positive
from ldm_jax.types import Adapter, Array, Params

ATTENTION = r"^denoiser/.*/(self|cross)/(q|k|v|out)/kernel$"


@dataclass(frozen=True)
class LoRA(AdapterSettings):
    """Low-rank parts for kernels of a model."""

    rank: AtLeast1 = 4
    alpha: Positive | None = None  # over the rank it scales the parts; None: the rank
    # a regular expression: kernels in whose name (denoiser/mid_attn/...) it is found are adapted
    match: str = ATTENTION

    kind: ClassVar = "a LoRA"
    has_window: ClassVar = False

    def check(self, base: Base, prefix: str = "adapter.") -> None:
        try:
            re.compile(self.match)
        except re.error as error:
            raise InputError(
                f"{prefix}match is '{self.match}': expected a regular expression ({error})"
            ) from None

    def build(self, base: Base) -> Adapter:
        return lora(self)


def lora(config: LoRA) -> Adapter:
    """Low-rank parts, under the names of the kernels that they change.

    Of a kernel [..., C]: "down" [..., rank], drawn, and "up" [rank, C], zero.
    """
    factor = 1.0 if config.alpha is None else config.alpha / config.rank

    def init(key: Array, params: Params) -> Params:
        kernels = matching(params, config.match)
        parts = {}
        for one, (path, kernel) in zip(
            jax.random.split(key, len(kernels)), kernels.items(), strict=True
        ):
            *lead, width = kernel.shape
            std = 1.0 / math.sqrt(3.0 * math.prod(lead))  # kaiming_uniform(a=sqrt(5)), the original
            uniform = jax.random.uniform(one, (*lead, config.rank), minval=-1.0, maxval=1.0)
            parts[(*path, "down")] = math.sqrt(3.0) * std * uniform
            parts[(*path, "up")] = jnp.zeros((config.rank, width))
        return unflatten_dict(parts)

    def weights(own: Params, params: Params, scale) -> Params:
        parts, kernels = flatten_dict(own), flatten_dict(params, keep_empty_nodes=True)
        for *path, part in parts:
            if part == "down":
                delta = parts[(*path, "down")] @ parts[(*path, "up")]
                kernel = kernels[tuple(path)]
                changed = kernel + scale * factor * delta
                kernels[tuple(path)] = changed.astype(kernel.dtype)
        return unflatten_dict(kernels)

    return Adapter(init, weights=weights)


def matching(params: Params, match: str) -> dict[tuple[str, ...], Array]:
    """The kernels of a model in whose names the expression is found, in their order.

    Raises:
        InputError: there are none.
    """
    whole = {name: tree for name, tree in params.items() if name != "adapters"}
    found = {
        path: kernel
        for path, kernel in flatten_dict(whole).items()
        if path[-1] == "kernel" and re.search(match, "/".join(path))
    }
    if not found:
        raise InputError(f"match is '{match}': expected kernels of the model, and it finds none")
    return found
