"""A training step of an adapter here and in diffusers with PEFT: the same network, data, optimizer.

python benchmarks/train_adapter.py [--network controlnet-unet-35m ...] [--rounds 15]
    [--torch PYTHON]

The network is frozen, and has neither gradients nor moments. A LoRA is of rank 8, of all queries,
keys, values and outputs of attention; a ControlNet reads hints of 8 pixels per latent. Otherwise as
train_step.py, which has the networks; prints the parameters that are trained.
"""

from typing import NamedTuple

import train_step
import turns


class Case(NamedTuple):
    """An adapter of a network."""

    adapter: str
    network: train_step.UNet


NETWORKS = {
    f"{adapter}-{name}": Case(adapter, network)
    for adapter in ("lora", "controlnet")
    for name, network in train_step.NETWORKS.items()
    if isinstance(network, train_step.UNet)
}
RANK, FACTOR = 8, 8


def ours(case: Case):
    """Number of trained parameters, and a function that makes one step."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from ldm_jax.adapters.adapter import add, merged
    from ldm_jax.adapters.controlnet import ControlNet, controlnet
    from ldm_jax.adapters.lora import LoRA
    from ldm_jax.adapters.low_rank import low_rank
    from ldm_jax.backbones import unet
    from ldm_jax.runtime.compilation import compile_ahead, use_first_thread
    from ldm_jax.types import Cond

    use_first_thread()  # as train.py does
    network = case.network
    keys, rng = iter(jax.random.split(jax.random.key(0), 8)), np.random.default_rng(0)
    model = unet.UNetModule(train_step.settings(network), network.latent[-1])
    z = jax.random.normal(next(keys), (network.batch, *network.latent))
    noise = jax.random.normal(next(keys), z.shape)
    given = Cond(tokens=jax.random.normal(next(keys), (network.batch, *network.tokens)))
    steps = jnp.arange(network.batch) * 100
    h, w, _ = network.latent
    hint = jax.random.uniform(next(keys), (network.batch, h * FACTOR, w * FACTOR, 3))
    shapes = jax.eval_shape(model.init, next(keys), z, steps, given)["params"]
    frozen = jax.tree.map(
        lambda x: jnp.asarray(0.02 * rng.standard_normal(x.shape, np.float32)), shapes
    )
    adapter = {
        "lora": lambda: low_rank(LoRA(rank=RANK), []),
        "controlnet": lambda: controlnet(ControlNet(), train_step.settings(network)),
    }[case.adapter]()
    adamw = optax.adamw(train_step.LR)
    own = jax.jit(adapter.init)(next(keys), {"denoiser": frozen})

    def loss(own, frozen, z, noise, steps, given, hint):
        params = merged({"it": adapter}, {"denoiser": frozen, "adapters": {"it": own}})
        if adapter.signal:
            encoded = adapter.encode(own, {"hint": hint})
            given = add(given, adapter.signal(own, encoded, z, steps, given), 1.0, steps)
        output = model.apply({"params": params["denoiser"]}, z, steps, given)
        return jnp.mean(jnp.square(output - noise))

    def update(state, frozen, data):
        own, moments = state
        gradients = jax.grad(loss)(own, frozen, *data)
        changes, moments = adamw.update(gradients, moments, own)
        return optax.apply_updates(own, changes), moments

    data, state, compiled = (z, noise, steps, given, hint), [(own, adamw.init(own))], []

    def step():
        if not compiled:
            jitted = jax.jit(update, donate_argnums=0)
            compiled.append(compile_ahead(jitted, state[0], frozen, data).call)
        state[0] = jax.block_until_ready(compiled[0](state[0], frozen, data))

    return sum(x.size for x in jax.tree.leaves(own)), step


def theirs(case: Case):
    """The same in diffusers, as its scripts train it."""
    import diffusers
    import torch
    from peft import LoraConfig

    torch.manual_seed(0)
    network = case.network
    model = train_step.their_unet(network)
    model.requires_grad_(False)
    if case.adapter == "lora":
        targets = ["to_q", "to_k", "to_v", "to_out.0"]
        model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets))
        control, trained = None, [x for x in model.parameters() if x.requires_grad]
    else:
        control = diffusers.ControlNetModel.from_unet(model).requires_grad_(True).train()
        trained = [*control.parameters()]
    h, w, c = network.latent
    z, noise = torch.randn(2, network.batch, c, h, w)
    given, steps = torch.randn(network.batch, *network.tokens), torch.arange(network.batch) * 100
    hint = torch.rand(network.batch, 3, h * FACTOR, w * FACTOR)
    model.train()
    adamw = torch.optim.AdamW(trained, train_step.LR)

    def output():
        if control is None:
            return model(z, steps, given).sample
        skips, middle = control(z, steps, given, hint, return_dict=False)
        added = {
            "down_block_additional_residuals": skips,
            "mid_block_additional_residual": middle,
        }
        return model(z, steps, given, **added).sample

    def step():
        adamw.zero_grad(set_to_none=True)
        torch.mean((output() - noise) ** 2).backward()
        adamw.step()

    return sum(x.numel() for x in trained), step


if __name__ == "__main__":
    turns.main(__doc__, NETWORKS, {"ours": ours, turns.PEER: theirs}, rounds=15)
