"""First stages in the checkpoint files of CompVis/latent-diffusion and of Stable Diffusion.

A file contains a first stage alone, with its training loss (`loss.*`) and possibly the moving
average of its weights (`model_ema.*`), or a whole model with its first stage under a prefix.
"""

from typing import NamedTuple

from ldm_jax.weights.table import State, renamed

EMBEDDED = "first_stage_model."
LOSS = "loss."
EMA = "model_ema."


class FirstStageFile(NamedTuple):
    """A first stage as a file has it."""

    state: State  # under the keys of a first stage alone
    scale: float  # of its latents, 1 where the file does not have it
    notes: tuple[str, ...]  # for whoever converts it


def first_stage(weights: State) -> FirstStageFile:
    """The first stage among the weights of a file."""
    keys, notes, scale = {key: key for key in weights}, [], 1.0
    if any(key.startswith(EMBEDDED) for key in weights):
        keys = {k.removeprefix(EMBEDDED): k for k in weights if k.startswith(EMBEDDED)}
        rest = len(weights) - len(keys)
        notes.append(f"a first stage inside a larger checkpoint: {rest} other weights are left out")
        if "scale_factor" in weights:
            scale = float(weights["scale_factor"])
        else:
            notes.append(
                "the file does not have the scale of its latents (scale_factor): left at 1, "
                "which training a second stage replaces by the measured one"
            )
    loss = [key for key in keys if key.startswith(LOSS)]
    if loss:
        notes.append(f"{len(loss)} weights of the loss that trained it ({LOSS}*) are left out")
    averages = [key for key in keys if key.startswith(EMA)]
    own = {key: k for key, k in keys.items() if not key.startswith((LOSS, EMA))}
    if averages:
        # the average's names are the weights' without dots
        averaged = {key: keys.get(EMA + key.replace(".", "")) for key in own}
        whole = None not in averaged.values()
        own = averaged if whole else own
        what = "instead of the last ones" if whole else "are left out: some are missing"
        notes.append(f"{len(averages)} averaged weights ({EMA}*) {what}")
    return FirstStageFile(renamed(weights, own), scale, tuple(notes))
