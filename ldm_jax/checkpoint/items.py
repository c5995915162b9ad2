"""What a checkpoint is made of: items, each read without the others."""

from ldm_jax.types import TrainState

ITEMS = ("params", "ema", "optimizer", "power")


def parts(state: TrainState) -> dict:
    """The items of a checkpoint that hold arrays."""
    optimizer = {"step": state.step, "opt_state": state.opt_state}
    items = {"params": state.params, "ema": state.ema, "optimizer": optimizer}
    return {**items, "power": state.power} if state.power else items
