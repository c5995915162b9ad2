"""Two conditions at once: captions, and what stands beside the latents."""

from ldm_jax.types import Conditioner


def together(caption: Conditioner, beside: Conditioner) -> Conditioner:
    """Reads what both read. Training and guidance hide the caption alone, as in Stable Diffusion.

    Args:
        beside: a conditioner without params.
    """

    def encode(params, inputs):
        own = {name: inputs[name] for name in beside.keys}
        return {name: inputs[name] for name in caption.keys} | beside.encode(params, own)

    def apply(params, inputs):
        told = beside.apply({}, inputs)
        return caption.apply(params, inputs).replace(
            **{slot: x for slot, x in vars(told).items() if x is not None}
        )

    def null(n, h=1, w=1):
        return caption.null(n, h, w) | beside.null(n, h, w)

    return caption._replace(
        apply=apply,
        null=null,
        keys=(*caption.keys, *beside.keys),
        encode=encode if beside.encode else None,
        hidden=caption.keys,
    )
