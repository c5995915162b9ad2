"""The weights of any file under plain names: without what wraps them, and widened where scaled."""

import re
from collections.abc import Mapping

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.weights.table import MARKERS, Lazy, State

# what is around a network: of DistributedDataParallel, torch.compile, Lightning, FSDP and
# checkpointing
WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:module|_orig_mod|_forward_module|_fsdp_wrapped_module"
    r"|_checkpoint_wrapped_module)\."
)
# what all keys may begin with, where a network is the attribute of something else
OUTER = {"model", "net", "network", "vae", "autoencoder", "ema", "ema_model", "text_encoder"}
DENOISER = "model.diffusion_model."  # whose name begins so
EMA, LAST = ("ema_model.", "ema.", "model_ema."), ("", "model.", "online_model.")
TODAY = (  # names of before -> of today: of attention in diffusers, of norms in BERT
    (r"(\.attentions\.\d+)\.query\.", r"\1.to_q."),
    (r"(\.attentions\.\d+)\.key\.", r"\1.to_k."),
    (r"(\.attentions\.\d+)\.value\.", r"\1.to_v."),
    (r"(\.attentions\.\d+)\.proj_attn\.", r"\1.to_out.0."),
    (r"LayerNorm\.gamma$", "LayerNorm.weight"),
    (r"LayerNorm\.beta$", "LayerNorm.bias"),
)
# an encoder of CLIP without its prefix: a key that it has, the prefix, and how its keys begin
CLIP = (
    ("embeddings.token_embedding.weight", "text_model."),
    ("embeddings.patch_embedding.weight", "vision_model."),
)
INSIDE = ("embeddings.", "encoder.layers.", "final_layer_norm.", "pre_layrnorm.", "post_layernorm.")


class Plain(Lazy):
    """The weights of a file; notes: what was chosen among them; metadata: its own words."""

    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = {}


def plain(
    weights: State, notes: tuple[str, ...] = (), metadata: Mapping[str, str] | None = None
) -> Plain:
    """The weights of a file under plain names.

    Numbers of 8 bits with a scale (NAME.scale_weight) become float32; averages that are beside the
    weights of the last step replace them.

    Raises:
        InputError: two keys are the same weight.
    """
    names: dict[str, str] = {}
    for key in weights:
        name = todays_name(WRAPPERS.sub("", key))
        if name in names:
            raise InputError(f"{key} and {names[name]} are both {name}: expected one of them")
        names[name] = key
    names, averaged = _averages(names)
    names = _clip(_inner(names))
    scales = {
        f"{name.removesuffix('scale_weight')}weight": key
        for name, key in names.items()
        if name.endswith(".scale_weight")
    }
    names = {n: k for n, k in names.items() if not n.endswith((".scale_weight", ".scale_input"))}

    def read(name: str) -> np.ndarray:
        weight = weights[names[name]]
        if name not in scales:
            return weight
        scale = np.asarray(weights[scales[name]], np.float32)
        if scale.size not in (1, *weight.shape[:1]):
            raise InputError(
                f"{scales[name]} has {scale.size} values: expected 1, or {len(weight)} as {name}"
            )
        return weight.astype(np.float32) * scale.reshape(-1, *[1] * (weight.ndim - 1))

    found = Plain(names, read)
    found.notes, found.metadata = (*notes, *averaged), metadata or {}
    return found


def todays_name(key: str) -> str:
    """What a weight is called today that was once saved under `key`."""
    for pattern, today in TODAY:
        key = re.sub(pattern, today, key)
    return key


def _averages(names: dict[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The averages among weights, where they are of all of them, and a note."""
    for ema in EMA:
        own = {name.removeprefix(ema): key for name, key in names.items() if name.startswith(ema)}
        rest = [name for name in names if not name.startswith(ema)]
        for last in LAST:
            if own and own.keys() == {n.removeprefix(last) for n in rest if n.startswith(last)}:
                return own, (f"{len(own)} averaged weights ({ema}*) instead of the last ones",)
    return names, ()


def _inner(names: dict[str, str]) -> dict[str, str]:
    """The names without what all of them begin with."""
    heads = {name.partition(".")[0] for name in names if not MARKERS.fullmatch(name)} - {"loss"}
    whole = heads & names.keys() or any(n.startswith(DENOISER) for n in names)
    if len(heads) != 1 or not heads <= OUTER or whole:
        return names
    return _inner({name.removeprefix(f"{min(heads)}."): key for name, key in names.items()})


def _clip(names: dict[str, str]) -> dict[str, str]:
    """The names with the prefixes that CLIP's encoders have elsewhere."""
    for there in ("", "cond_stage_model.transformer."):
        inside = tuple(there + part for part in INSIDE)
        for mark, prefix in CLIP:
            if there + mark in names:
                inner = [name for name in names if name.startswith(inside)]
                longer = {name: f"{there}{prefix}{name.removeprefix(there)}" for name in inner}
                names = {longer.get(name, name): key for name, key in names.items()}
    return names
