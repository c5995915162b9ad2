"""What diffusers calls the parts of whole models that read captions, and their config.json.

unet/ and vae/ are networks of diffusers, text_encoder/ is the CLIPTextModel of transformers, and
scheduler/ has the noising process. Numbers are those of `model_index.json`'s Stable Diffusion
pipelines, versions 1 and 2.
"""

import re
from collections.abc import Mapping
from typing import Any

from ldm_jax.encoders.clip.vision import MEAN, STD
from ldm_jax.errors import InputError
from ldm_jax.weights.names.diffusers import block_types, check_only
from ldm_jax.weights.table import FLAT, Row, Table

# Names: from the paths here, rewritten in this order

_RULES = (
    (r"^(down|up)_(\d+)_res_(\d+)", r"\1_blocks/\2/resnets/\3"),
    (r"^(down|up)_(\d+)_attn_(\d+)", r"\1_blocks/\2/attentions/\3"),
    (r"^(down|up)_(\d+)_(down|up)sample", r"\1_blocks/\2/\3samplers/0"),
    (r"^mid_res_(\d+)", r"mid_block/resnets/\1"),
    (r"^mid_attn", "mid_block/attentions/0"),
    (r"^time_(\d)", r"time_embedding/linear_\1"),
    (r"^vector_(\d)", r"class_embedding/linear_\1"),
    (r"^vector/", "class_embedding/"),
    (r"^norm_out", "conv_norm_out"),
    (r"/embedding/(kernel|bias)$", r"/time_emb_proj/\1"),
    (r"/skip/", "/conv_shortcut/"),
    (r"/(in|out)/(kernel|bias)$", r"/proj_\1/\2"),
    (r"/block_(\d+)/", r"/transformer_blocks/\1/"),
    (r"/self/", "/attn1/"),
    (r"/cross/", "/attn2/"),
    (r"/(attn[12])/proj_out/", r"/\1/to_out/0/"),
    (r"/(attn[12])/([qkv])/", r"/\1/to_\2/"),
    (r"/ff/proj_in/", "/ff/net/0/proj/"),
    (r"/ff/proj_out/", "/ff/net/2/"),
    (r"/(kernel|scale|embedding)$", "/weight"),
    (r"/", "."),
)


def unet_names(original: Table, levels: int) -> Table:
    """The rows of a denoiser that attends to tokens in diffusers' names."""

    def up(found: re.Match) -> str:  # diffusers counts from the lowest resolution
        return f"up_{levels - 1 - int(found[1])}_"

    def key(path: str) -> str:
        for pattern, there in ((r"^up_(\d+)_", up), *_RULES):
            path = re.sub(pattern, there, path)
        return path

    return [row._replace(keys=(key(row.path),)) for row in original]


VERSION = "0.42.1"  # of diffusers, as whose folders are written

# config.json of the UNet

_ONLY = {  # fields of which some values alone are here
    "act_fn": ("silu",),
    "center_input_sample": (False,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "addition_embed_type": (None,),
    "resnet_time_scale_shift": ("default",),
    "time_embedding_type": ("positional",),
    "class_embed_type": (None, "projection"),
    "norm_eps": (1e-5,),
    "mid_block_scale_factor": (1, 1.0),
    "num_attention_heads": (None,),
}


def read_unet(s: Mapping[str, Any]) -> tuple[dict[str, Any], int, int]:
    """Settings of the denoiser of a config.json, its input channels, and pixels of latents a side.

    Raises:
        InputError: of another class, or a network that no config here can be.
    """
    if s.get("_class_name") != "UNet2DConditionModel":
        raise InputError(
            f"unet/config.json has _class_name {s.get('_class_name')!r}: expected "
            "UNet2DConditionModel"
        )
    check_only(s, _ONLY, "unet's ")
    widths = s.get("block_out_channels", [320, 640, 1280, 1280])
    kinds = s.get("down_block_types", ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"])
    attends = [kind == "CrossAttnDownBlock2D" for kind in kinds]
    ups = list(s.get("up_block_types", _blocks(attends)[1]))
    if any(w % widths[0] for w in widths) or (list(kinds), ups) != _blocks(attends):
        raise InputError(
            f"unet has block_out_channels {widths}, down_block_types {kinds} and up_block_types "
            f"{ups}: expected multiples of the first width, and [CrossAttn]DownBlock2D with "
            "[CrossAttn]UpBlock2D at the same resolutions"
        )
    only = s.get("only_cross_attention", False)
    only = [only] * len(widths) if isinstance(only, bool) else list(only)
    projected = s.get("class_embed_type") == "projection"
    unet = dict(
        channels=widths[0],
        channel_mults=tuple(width // widths[0] for width in widths),
        num_res_blocks=s.get("layers_per_block", 2),
        attention_factors=tuple(2**n for n, a in reversed(list(enumerate(attends))) if a),
        transformer_depth=s.get("transformer_layers_per_block", 1),
        cross_only_factors=tuple(2**n for n, o in enumerate(only) if o and attends[n]),
        linear_projections=s.get("use_linear_projection", False),
        vector_entries=s.get("num_class_embeds"),
        vector_dim=s.get("projection_class_embeddings_input_dim") if projected else None,
        norm_groups=s.get("norm_num_groups", 32),
        **_heads(s.get("attention_head_dim", 8), widths),
    )
    size = s.get("sample_size") or 64
    return unet, s.get("in_channels", 4), size if isinstance(size, int) else size[0]


def _heads(heads: int | list[int], widths: list[int]) -> dict[str, int]:
    """diffusers' attention_head_dim, which is the number of heads, by level or of all."""
    if isinstance(heads, int) or len(set(heads)) == 1:
        return {"num_heads": heads if isinstance(heads, int) else heads[0]}
    each = {width / count for width, count in zip(widths, heads, strict=True)}
    if len(each) > 1:
        raise InputError(
            f"unet has attention_head_dim {heads} (heads) for widths {widths}: expected heads of "
            "one width, or as many at every level"
        )
    return {"head_channels": int(each.pop())}


def _blocks(attends: list[bool]) -> tuple[list[str], list[str]]:
    return block_types(attends, "CrossAttn", "DownBlock2D", "UpBlock2D")


def unet_config(unet: Any, i: int, o: int, tokens: int, size: int) -> dict[str, Any]:
    """The config.json of a denoiser that sees i channels [size, size] and tokens of a width.

    Raises:
        InputError: a network that diffusers could not build.
    """
    for name in ("resample_blocks", "scale_shift", "positions"):
        if getattr(unet, name):
            raise InputError(
                f"model.{name} is True: expected False, since diffusers has no other among the "
                "networks of captions"
            )
    factors = [2**n for n in range(len(unet.channel_mults))]
    if unet.channel_mults[0] != 1:
        raise InputError(
            f"model.channel_mults is {unet.channel_mults}: expected 1 first, since diffusers' "
            "first convolution is as wide as its first level"
        )
    down, up = _blocks([factor in unet.attention_factors for factor in factors])
    widths = [unet.channels * mult for mult in unet.channel_mults]
    heads = [width // unet.head_channels for width in widths] if unet.head_channels else None
    return {
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": VERSION,
        "in_channels": i,
        "out_channels": o,
        "sample_size": size,
        "block_out_channels": widths,
        "down_block_types": down,
        "up_block_types": up,
        "layers_per_block": unet.num_res_blocks,
        "attention_head_dim": heads or unet.num_heads,
        "cross_attention_dim": tokens,
        "transformer_layers_per_block": unet.transformer_depth,
        "only_cross_attention": [factor in unet.cross_only_factors for factor in factors],
        "use_linear_projection": unet.linear_projections,
        "num_class_embeds": unet.vector_entries,
        "class_embed_type": "projection" if unet.vector_dim else None,
        "projection_class_embeddings_input_dim": unet.vector_dim,
        "norm_num_groups": unet.norm_groups,
        "act_fn": "silu",
        "flip_sin_to_cos": True,
        "freq_shift": 0,
    }


# config.json of CLIP's encoders

ACTIVATIONS = {"quick_gelu": "openai", "gelu": "openclip"}


def _read_encoder(s: Mapping[str, Any], part: str, kind: str, dim: int) -> tuple[int, str]:
    """The width of an encoder, `dim` where it does not say, and whose weights it has.

    Raises:
        InputError: another encoder.
    """
    found, act = s.get("model_type"), s.get("hidden_act", "quick_gelu")
    if found != kind or act not in ACTIVATIONS:
        raise InputError(
            f"{part} is a {found} with hidden_act {act}: expected a {kind} with "
            f"{' or '.join(ACTIVATIONS)}"
        )
    dim = s.get("hidden_size", dim)
    if s.get("intermediate_size", 4 * dim) != 4 * dim:
        raise InputError(
            f"{part} has intermediate_size {s['intermediate_size']}: expected {4 * dim}, four "
            "times hidden_size"
        )
    return dim, ACTIVATIONS[act]


def read_text(s: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `CLIPText` in the config.json of text_encoder."""
    dim, weights = _read_encoder(s, "text_encoder", "clip_text_model", 512)
    heads = s.get("num_attention_heads", 8)
    return {
        "dim": dim,
        "layers": s.get("num_hidden_layers", 12),
        "num_heads": heads,
        "head_dim": dim // heads,
        "length": s.get("max_position_embeddings", 77),
        "vocab_size": s.get("vocab_size", 49_408),
        "weights": weights,
    }


def read_vision(s: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `CLIPImage` in the config.json of image_encoder, or of a whole CLIP."""
    if s.get("model_type") == "clip":
        own = {"model_type": "clip_vision_model"} | (s.get("vision_config") or {})
        s = own | {"projection_dim": s.get("projection_dim", 512)}
    dim, weights = _read_encoder(s, "image_encoder", "clip_vision_model", 768)
    return {
        "weights": weights,
        "channels": dim,
        "layers": s.get("num_hidden_layers", 12),
        "num_heads": s.get("num_attention_heads", 12),
        "dim": s.get("projection_dim", 512),
        "patch": s.get("patch_size", 32),
        "size": s.get("image_size", 224),
    }


def _encoder_config(encoder: Any, kind: str, width: int) -> dict[str, Any]:
    (act,) = (name for name, weights in ACTIVATIONS.items() if weights == encoder.weights)
    return {
        "model_type": kind,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": encoder.layers,
        "num_attention_heads": encoder.num_heads,
        "hidden_act": act,
        "layer_norm_eps": 1e-5,
        "projection_dim": encoder.dim,
    }


def text_config(text: Any) -> dict[str, Any]:
    """The config.json of a text encoder."""
    return {
        "architectures": ["CLIPTextModel"],
        **_encoder_config(text, "clip_text_model", text.dim),
        "max_position_embeddings": text.length,
        "vocab_size": text.vocab_size,
        "bos_token_id": text.vocab_size - 2,
        "eos_token_id": text.vocab_size - 1,
        "pad_token_id": text.vocab_size - 1 if text.weights == "openai" else 0,
    }


def vision_config(encoder: Any) -> dict[str, Any]:
    """The config.json of an image encoder."""
    return {
        "architectures": ["CLIPVisionModelWithProjection"],
        **_encoder_config(encoder, "clip_vision_model", encoder.channels),
        "patch_size": encoder.patch,
        "image_size": encoder.size,
    }


def preprocessor_config(size: int) -> dict[str, Any]:
    """The preprocessing of images, as by `conditioning.clip_image.prepared`."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [round(float(x), 8) for x in MEAN],
        "image_std": [round(float(x), 8) for x in STD],
        "do_convert_rgb": True,
    }


NORMALIZER = "StableUnCLIPImageNormalizer"  # of embeddings; its weights are mean and std, [1, d]


def normalizer_names(dim: int) -> Table:
    """The rows of the statistics of embeddings."""
    return [Row(name, (name,), (1, dim), FLAT) for name in ("mean", "std")]
