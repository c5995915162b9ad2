"""Full-size first stages against the original's: outputs, the codebook's loss, and gradients.

    python -m tests.parity.cases.first_stages REFERENCES [NAME ...]

REFERENCES holds an npz for each config of configs/autoencoder, made by `make/first_stages.py` from
the original code. Prints how far ours are apart; 1 where they are further than the tolerances.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import config as c
from ldm_jax.autoencoders.latents import unit
from ldm_jax.weights import table as tables
from tests.parity import compare
from tests.parity.cases import drawn
from tests.parity.cases.first_stage_cases import NAMES, cotangents, keys_and_shapes, model
from tests.parity.cases.networks import channels_first, channels_last

OUTPUTS, GRADIENTS = 1e-4, 1e-3  # of the largest reference


def _outputs(config: c.ConvolutionalAutoencoder, params, image):
    """What `make/first_stages.py` asks of the original, laid out as there."""
    params = params | unit(config.z_channels)
    if isinstance(config, c.KLAutoencoder):
        stage = config.build()
        q = stage.posterior(params, channels_last(image))
        moments = jnp.concatenate([q.mean, q.log_variance], axis=-1)
        recon = stage.decode(params, q.mean)
        return {"moments": channels_first(moments), "recon": channels_first(recon)}
    made = config.build().reconstruct(params, channels_last(image), None)
    terms = {name: jnp.mean(term) for name, term in made.terms.items()}
    return {
        "h": channels_first(made.latents),
        "indices": made.codes.reshape(-1).astype(jnp.float32),
        "recon": channels_first(made.image),
        "codebook loss": terms["commitment"] + 0.25 * terms["codebook"],
    }


def ours(name: str, reference: Mapping[str, np.ndarray]) -> compare.Pairs:
    """Each array of the reference beside ours."""
    config, table = model(name), keys_and_shapes(name).table
    params = tables.to_here(table, drawn.state(keys_and_shapes(name).shapes))
    weights = cotangents(reference)

    @jax.jit
    def run(params, image):
        def loss(params, image):
            outputs = _outputs(config, params, image)
            return sum(jnp.sum(outputs[k] * w) for k, w in weights.items()), outputs

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, image)

    with jax.default_matmul_precision("highest"):
        (by_params, by_image), outputs = run(params, reference["image"])
    gradients = {
        "image": by_image,
        **tables.to_original(table, jax.tree.map(np.asarray, by_params)),
    }
    found = outputs | {f"grad:{key}": x for key, x in gradients.items()}
    return {k: (np.asarray(found[k]), reference[k]) for k in reference if k != "image"}


def main() -> int:
    """Prints the table; 1 where something is further off than the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("references", type=Path, help="folder of NAME.npz")
    parser.add_argument("names", nargs="*", metavar="NAME", default=NAMES)
    arguments = parser.parse_args()
    close = True
    print("| config | array | max error | relative to max |\n|---|---|---|---|")
    for name in arguments.names:
        with np.load(arguments.references / f"{name}.npz") as file:
            pairs = ours(name, dict(file))
        errors = compare.measured(pairs)
        worst = max((k for k in errors if k.startswith("grad:")), key=lambda k: errors[k][1])
        shown = {k: pairs[k] for k in pairs if not k.startswith("grad:")}
        count = len(pairs) - len(shown)
        print(compare.table(name, shown))
        print(compare.table(name, {f"worst of {count} gradients, {worst[5:]}": pairs[worst]}))
        sys.stdout.flush()
        close &= all(
            relative < (GRADIENTS if k.startswith("grad:") else OUTPUTS)
            for k, (_, relative) in errors.items()
        )
        jax.clear_caches()
    return 0 if close else 1


if __name__ == "__main__":
    sys.exit(main())
