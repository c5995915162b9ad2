"""Two conditions at once: captions, and what stands beside the latents."""

import jax

from ldm_jax.types import Conditioner


def together(caption: Conditioner, beside: Conditioner) -> Conditioner:
    """Reads what both read. Training and guidance hide the caption, as in Stable Diffusion, and of
    the other what it names as hidden.

    Params are the caption's, and the other's under "beside", where it has some.
    """

    def init(key):
        own = beside.init(jax.random.fold_in(key, 1))
        return {**caption.init(key), **({"beside": own} if own else {})}

    def encode(params, inputs):
        own = {name: inputs[name] for name in beside.keys}
        return {name: inputs[name] for name in caption.keys} | beside.encode(params, own)

    def apply(params, inputs):
        told = beside.apply(params.get("beside", {}), inputs)
        own = {name: part for name, part in params.items() if name != "beside"}
        return caption.apply(own, inputs).replace(
            **{slot: x for slot, x in vars(told).items() if x is not None}
        )

    def null(n, h=1, w=1):
        return caption.null(n, h, w) | beside.null(n, h, w)

    return caption._replace(
        init=init,
        apply=apply,
        null=null,
        keys=(*caption.keys, *beside.keys),
        encode=encode if beside.encode else None,
        hidden=(*caption.keys, *(beside.hidden or ())),
    )
