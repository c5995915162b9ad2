"""Guided DDIM sampling here and by diffusers' pipeline (PyTorch, eager), of the same network.

python benchmarks/sampling.py [--network unet-35m ...] [--rounds 5] [--torch PYTHON]

50 steps with guidance, so 100 calls, to the latents: neither captions' encoder nor the decoder is
measured. Theirs is StableDiffusionPipeline with embeddings given and output_type="latent"; ours is
the function that sample.py compiles. The networks, and what is printed, are train_step.py's.
"""

import train_step
import turns

STEPS, GUIDANCE = 50, 7.5
NETWORKS = {name: train_step.NETWORKS[name] for name in ("unet-35m", "unet-demo")}


def ours(network: train_step.UNet):
    """Number of parameters, and a function that samples a batch."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ldm_jax import config
    from ldm_jax.diffusion import sampling
    from ldm_jax.diffusion.samplers.names import build_sampler
    from ldm_jax.encoders.tokenizers import tokenizer as tokens
    from ldm_jax.sampling.generate import make_generate
    from ldm_jax.types import Cond, Conditioner

    experiment = config.Experiment(
        data=config.Data(path="shapes", image_size=8 * network.latent[0]),
        first_stage=config.FirstStageExperiment(
            model=config.KLAutoencoder(z_channels=network.latent[-1])
        ),
        model=train_step.settings(network),
        conditions=(config.Text(dim=network.tokens[1], length=network.tokens[0]),),
    )
    given = jax.random.normal(jax.random.key(0), (network.batch, *network.tokens))
    model = experiment.build({"tokens": tokens.learn(["a word"], 64, network.tokens[0])})
    model = model._replace(  # tokens come as they are, and latents leave so
        conditioner=Conditioner(
            apply=lambda params, inputs: Cond(tokens=inputs["tokens"]),
            null=lambda count, h=1, w=1: {"tokens": jnp.zeros((count, *network.tokens))},
            keys=("tokens",),
        ),
        first_stage=model.first_stage._replace(decode=lambda params, z: z, factor=1),
    )
    shapes = jax.eval_shape(model.init, jax.random.key(0))["denoiser"]
    rng = np.random.default_rng(0)
    denoiser = jax.tree.map(
        lambda x: jnp.asarray(0.02 * rng.standard_normal(x.shape, np.float32)), shapes
    )
    params = {"denoiser": denoiser, "conditioner": {}, "first_stage": {}}
    trajectory = sampling.Sampling(sampler="ddim", steps=STEPS, spacing="trailing")
    times = sampling.padded_times(trajectory, model.process)
    generate = make_generate(model, build_sampler("ddim"), network.latent[0])
    seeds = np.arange(network.batch, dtype=np.uint32)

    def work():
        options = sampling.arguments(trajectory)
        made = generate(params, {"tokens": given}, seeds, times, GUIDANCE, options)
        jax.block_until_ready(made)

    return sum(x.size for x in jax.tree.leaves(denoiser)), work


def latents_pipeline(unet, scheduler):
    """diffusers' pipeline of a UNet alone, for embeddings that are given, to latents."""
    import diffusers

    pipeline = diffusers.StableDiffusionPipeline(
        vae=None,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def theirs(network: train_step.UNet):
    """The same in diffusers."""
    import diffusers
    import torch

    model = train_step.their_unet(network).eval()
    scheduler = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    pipeline = latents_pipeline(model, scheduler)
    given = torch.randn(network.batch, *network.tokens)

    def work():
        pipeline(
            prompt_embeds=given,
            negative_prompt_embeds=torch.zeros_like(given),
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            height=8 * network.latent[0],
            width=8 * network.latent[1],
            output_type="latent",
        )

    return sum(x.numel() for x in model.parameters()), work


if __name__ == "__main__":
    turns.main(__doc__, NETWORKS, {"ours": ours, turns.PEER: theirs}, rounds=5)
