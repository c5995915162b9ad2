"""A training step of a LoRA here and in diffusers with PEFT: the same network, data and optimizer.

python benchmarks/train_lora.py [--network unet-35m ...] [--rounds 15] [--torch PYTHON]

The LoRA is of rank 8, of all queries, keys, values and outputs of attention; the network is frozen,
and has neither gradients nor moments. Otherwise as train_step.py, which has the networks; prints
the parameters that are trained.
"""

import train_step
import turns

NETWORKS = {
    name: network
    for name, network in train_step.NETWORKS.items()
    if isinstance(network, train_step.UNet)
}
RANK = 8


def ours(network: train_step.UNet):
    """Number of trained parameters, and a function that makes one step."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from ldm_jax.adapters.lora import LoRA
    from ldm_jax.adapters.low_rank import low_rank
    from ldm_jax.backbones import unet
    from ldm_jax.runtime.compilation import compile_ahead, use_first_thread
    from ldm_jax.types import Cond

    use_first_thread()  # as train.py does
    keys, rng = iter(jax.random.split(jax.random.key(0), 8)), np.random.default_rng(0)
    model = unet.UNetModule(train_step.settings(network), network.latent[-1])
    z = jax.random.normal(next(keys), (network.batch, *network.latent))
    noise = jax.random.normal(next(keys), z.shape)
    given = Cond(tokens=jax.random.normal(next(keys), (network.batch, *network.tokens)))
    steps = jnp.arange(network.batch) * 100
    shapes = jax.eval_shape(model.init, next(keys), z, steps, given)["params"]
    frozen = jax.tree.map(
        lambda x: jnp.asarray(0.02 * rng.standard_normal(x.shape, np.float32)), shapes
    )
    adapter, adamw = low_rank(LoRA(rank=RANK), []), optax.adamw(train_step.LR)
    own = jax.jit(adapter.init)(next(keys), {"denoiser": frozen})

    def loss(own, frozen, z, noise, steps, given):
        params = adapter.weights(own, {"denoiser": frozen}, 1.0)["denoiser"]
        return jnp.mean(jnp.square(model.apply({"params": params}, z, steps, given) - noise))

    def update(state, frozen, data):
        own, moments = state
        gradients = jax.grad(loss)(own, frozen, *data)
        changes, moments = adamw.update(gradients, moments, own)
        return optax.apply_updates(own, changes), moments

    data, state, compiled = (z, noise, steps, given), [(own, adamw.init(own))], []

    def step():
        if not compiled:
            jitted = jax.jit(update, donate_argnums=0)
            compiled.append(compile_ahead(jitted, state[0], frozen, data).call)
        state[0] = jax.block_until_ready(compiled[0](state[0], frozen, data))

    return sum(x.size for x in jax.tree.leaves(own)), step


def theirs(network: train_step.UNet):
    """The same in diffusers, as its script trains a LoRA."""
    import torch
    from peft import LoraConfig

    torch.manual_seed(0)
    model = train_step.their_unet(network)
    model.requires_grad_(False)
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets))
    h, w, c = network.latent
    z, noise = torch.randn(2, network.batch, c, h, w)
    given, steps = torch.randn(network.batch, *network.tokens), torch.arange(network.batch) * 100
    trained = [x for x in model.parameters() if x.requires_grad]
    model.train()
    adamw = torch.optim.AdamW(trained, train_step.LR)

    def step():
        adamw.zero_grad(set_to_none=True)
        torch.mean((model(z, steps, given).sample - noise) ** 2).backward()
        adamw.step()

    return sum(x.numel() for x in trained), step


if __name__ == "__main__":
    turns.main(__doc__, NETWORKS, {"ours": ours, turns.PEER: theirs}, rounds=15)
