"""A training step here and in diffusers (PyTorch, eager): the same network, data and optimizer.

python benchmarks/train_step.py [--network unet-35m ...] [--rounds 15] [--torch PYTHON]

PYTHON is an interpreter with torch and diffusers, which need not have JAX; without it, only our
side is measured. Both take turns (turns.py). Prints the parameters of both (the same number, or it
is not the same network), the medians of wall time, and their ratio. A step is forward, backward and
AdamW, float32; where JAX sees several devices (JAX_NUM_CPU_DEVICES=2), they share the batch.
"""

from typing import NamedTuple

import turns


class UNet(NamedTuple):
    """A denoiser with cross-attention at all but the last `plain` levels, and what it is shown."""

    channels: tuple[int, ...]
    plain: int
    layers: int
    heads: int
    groups: int
    latent: tuple[int, int, int]
    tokens: tuple[int, int]
    batch: int


class Autoencoder(NamedTuple):
    """A KL first stage, and what it is shown."""

    channels: tuple[int, ...]
    layers: int
    z_channels: int
    groups: int
    attention: bool
    side: int
    batch: int


NETWORKS = {
    # the network that peers were measured with
    "unet-35m": UNet((64, 128, 256, 256), 1, 2, 8, 32, (32, 32, 4), (77, 256), 4),
    # those that configs/demo.py had at 32 pixels; without the places, which diffusers cannot tell
    "unet-demo": UNet((64, 128), 0, 1, 4, 16, (8, 8, 8), (12, 128), 8),
    "autoencoder-demo": Autoencoder((16, 32, 64), 1, 8, 4, False, 32, 16),
    # kl-f8 of half the width
    "autoencoder-f8": Autoencoder((64, 128, 256, 256), 2, 4, 32, True, 128, 1),
}
LR = 1e-4


def settings(network: UNet | Autoencoder):
    """Our config of a network."""
    from ldm_jax import config

    mults = tuple(width // network.channels[0] for width in network.channels)
    if isinstance(network, UNet):
        return config.UNet(
            channels=network.channels[0],
            channel_mults=mults,
            num_res_blocks=network.layers,
            attention_factors=tuple(2**i for i in range(len(mults) - network.plain)),
            num_heads=network.heads,
            norm_groups=network.groups,
        )
    return config.KLAutoencoder(
        channels=network.channels[0],
        channel_mults=mults,
        num_res_blocks=network.layers,
        mid_attention=network.attention,
        z_channels=network.z_channels,
        norm_groups=network.groups,
    )


def ours(network: UNet | Autoencoder):
    """Number of parameters, and a function that makes one step."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    from ldm_jax.backbones import unet
    from ldm_jax.runtime.compilation import compile_ahead, use_first_thread
    from ldm_jax.types import Cond

    use_first_thread()  # as train.py does
    keys, rng = iter(jax.random.split(jax.random.key(0), 8)), np.random.default_rng(0)

    def drawn(shapes):  # an initialiser would take long to compile
        return jax.tree.map(
            lambda x: jnp.asarray(0.02 * rng.standard_normal(x.shape, np.float32)), shapes
        )

    if isinstance(network, UNet):
        model = unet.UNetModule(settings(network), network.latent[-1])
        z = jax.random.normal(next(keys), (network.batch, *network.latent))
        noise = jax.random.normal(next(keys), z.shape)
        given = Cond(tokens=jax.random.normal(next(keys), (network.batch, *network.tokens)))
        steps = jnp.arange(network.batch) * 100
        params = drawn(jax.eval_shape(model.init, next(keys), z, steps, given)["params"])
        data = (z, noise, steps, given)

        def loss(params, z, noise, steps, given):
            return jnp.mean(jnp.square(model.apply({"params": params}, z, steps, given) - noise))

    else:
        stage = settings(network).build()
        images = jax.random.normal(next(keys), (network.batch, network.side, network.side, 3))
        params = drawn(jax.eval_shape(stage.init, next(keys)))
        params = {name: params[name] for name in stage.parts}
        data = (images, jax.random.split(next(keys), network.batch))

        def loss(params, images, keys):
            made = stage.reconstruct(params, images, keys)
            error = jnp.mean(jnp.square(made.image - images))
            return error + 1e-6 * jnp.mean(made.terms["kl"])

    adamw = optax.adamw(LR)

    def update(state, data):
        params, moments = state
        gradients = jax.grad(loss)(params, *data)
        changes, moments = adamw.update(gradients, moments, params)
        return optax.apply_updates(params, changes), moments

    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    data = jax.device_put(data, NamedSharding(mesh, PartitionSpec("data")))
    params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    count = sum(x.size for x in jax.tree.leaves(params))
    state, compiled = [(params, adamw.init(params))], []

    def step():
        if not compiled:
            jitted = jax.jit(update, donate_argnums=0)
            compiled.append(compile_ahead(jitted, state[0], data).call)
        state[0] = jax.block_until_ready(compiled[0](state[0], data))

    return count, step


def their_unet(network: UNet):
    """diffusers' network."""
    import diffusers

    levels = len(network.channels)
    crossing = levels - network.plain
    return diffusers.UNet2DConditionModel(
        sample_size=network.latent[0],
        in_channels=network.latent[-1],
        out_channels=network.latent[-1],
        block_out_channels=network.channels,
        down_block_types=("CrossAttnDownBlock2D",) * crossing + ("DownBlock2D",) * network.plain,
        up_block_types=("UpBlock2D",) * network.plain + ("CrossAttnUpBlock2D",) * crossing,
        layers_per_block=network.layers,
        attention_head_dim=network.heads,  # which is their number
        norm_num_groups=network.groups,
        cross_attention_dim=network.tokens[1],
    )


def theirs(network: UNet | Autoencoder):
    """The same in diffusers."""
    import diffusers
    import torch

    levels = len(network.channels)
    torch.manual_seed(0)
    if isinstance(network, UNet):
        model = their_unet(network)
        h, w, c = network.latent
        z, noise = torch.randn(2, network.batch, c, h, w)
        given, steps = (
            torch.randn(network.batch, *network.tokens),
            torch.arange(network.batch) * 100,
        )

        def loss():
            return torch.mean((model(z, steps, given).sample - noise) ** 2)

    else:
        model = diffusers.AutoencoderKL(
            block_out_channels=network.channels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=network.layers,
            latent_channels=network.z_channels,
            norm_num_groups=network.groups,
            mid_block_add_attention=network.attention,
        )
        images = torch.randn(network.batch, 3, network.side, network.side)

        def loss():
            latents = model.encode(images).latent_dist
            error = torch.mean((model.decode(latents.sample()).sample - images) ** 2)
            return error + 1e-6 * torch.mean(latents.kl())

    model.train()
    adamw = torch.optim.AdamW(model.parameters(), LR)

    def step():
        adamw.zero_grad(set_to_none=True)
        loss().backward()
        adamw.step()

    return sum(x.numel() for x in model.parameters()), step


if __name__ == "__main__":
    turns.main(__doc__, NETWORKS, {"ours": ours, turns.PEER: theirs}, rounds=15)
