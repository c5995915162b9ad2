"""The small networks on this side: outputs and gradients beside the stored reference.

python -m tests.parity.cases.small     prints how far they are apart
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.weights import table
from tests.parity import compare
from tests.parity.cases import network_cases as cases
from tests.parity.cases import networks
from tests.parity.folders import ARRAYS

NETWORKS = {
    "kl": networks.autoencoder(cases.KL.config),
    "unet_tokens": networks.denoiser(cases.UNET_TOKENS.config, 4),
    "unet_attention": networks.denoiser(cases.UNET_ATTENTION.config, 3),
    "unet_blocks": networks.denoiser(cases.UNET_BLOCKS.config, 4),
    "unet_depth": networks.denoiser(cases.UNET_DEPTH.config, 3),
    "unet_vector": networks.denoiser(cases.UNET_VECTOR.config, 4),
    "classifier": networks.classifier(cases.CLASSIFIER.config, 5),
    "text": networks.text_transformer(cases.TEXT.config),
    "clip": networks.text_encoder(cases.CLIP.config),
    "openclip": networks.text_encoder(cases.OPENCLIP.config),
    "tiny": networks.tiny(cases.TINY.config),
    "tiny_norm": networks.tiny(cases.TINY_NORM.config),
}


def ours(network: networks.Network, case: cases.Case) -> dict[str, np.ndarray]:
    """Outputs, and gradients of the loss under `grad:NAME`, all laid out as the original's."""
    cotangents = cases.cotangents(case)
    params = table.to_here(case.table, cases.weights(case))
    moving = {k: x for k, x in case.inputs.items() if x.dtype.kind == "f"}

    @jax.jit
    def run(params, moving):
        def loss(params, moving):
            outputs = network.call(params, case.inputs | moving)
            return sum(jnp.sum(outputs[k] * c) for k, c in cotangents.items()), outputs

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, moving)

    with jax.default_matmul_precision("highest"):
        (by_params, by_inputs), outputs = run(params, moving)
    gradients = by_inputs | table.to_original(case.table, by_params)
    return outputs | {f"grad:{key}": gradients[key] for key in case.gradients}


def pairs(name: str) -> compare.Pairs:
    """Ours and the reference, by the name of the array."""
    return beside(NETWORKS[name], cases.CASES[name], ARRAYS / f"{name}.npz")


def beside(network: networks.Network, case: cases.Case, file: Path) -> compare.Pairs:
    """Ours and the reference that `file` holds."""
    found = ours(network, case)
    with np.load(file) as reference:
        return {key: (np.asarray(found[key]), reference[key]) for key in reference}


if __name__ == "__main__":
    for case_name in cases.CASES:
        print(compare.table(case_name, pairs(case_name)))
