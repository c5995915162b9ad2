"""Stable Diffusion 1's UNet on an accelerator: training and sampling, here and in diffusers.

python benchmarks/accelerator.py ours [--latents 32 64] [--batch 16] [--remat none dots full]
python benchmarks/accelerator.py diffusers ...       (an environment with torch and diffusers)

Training is forward, backward and AdamW, bfloat16 products over float32 weights, batch and noise
drawn in the step; theirs is compiled by torch.compile. Sampling is 50 steps of DDIM with
guidance, 16 bits, of one image, to its latent of 64 x 64. Weights are random. Prints for each
images a second, FLOP/s of the model (operations of forward and backward, none counted twice), their
share of what a product of two matrices of 8192 reaches here, and the most memory held. `--width 32
--latents 8` is small enough to see on any machine that it runs.
"""

import argparse
import statistics
import time

from sampling import GUIDANCE, STEPS, latents_pipeline

WIDTH, TOKENS, CONTEXT = 320, 77, 768


def seconds(work, wait, rounds: int) -> float:
    """Median seconds of work(); the first two are not counted."""
    taken = []
    for i in range(rounds + 2):
        start = time.perf_counter()
        wait(work())
        if i > 1:
            taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def row(name: str, images: float, flops: float | None, peak: float, memory: float | None) -> None:
    """Prints a line of the table."""
    speed = "" if flops is None else f"{flops / 1e12:.1f} TFLOP/s ({flops / peak:.1%} of peak)"
    held = "" if memory is None else f"{memory / 2**30:.1f} GiB"
    print(f"| {name} | {images:.2f} images/s | {speed} | {held} |", flush=True)


def ours(given: argparse.Namespace) -> None:
    """JAX."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from ldm_jax import config
    from ldm_jax.backbones.unet import UNetModule
    from ldm_jax.diffusion.samplers.loop import normal_like
    from ldm_jax.diffusion.samplers.names import build_sampler
    from ldm_jax.training.cost import flops
    from ldm_jax.training.meter import memory_bytes
    from ldm_jax.types import Cond

    a = jnp.ones((8192, 8192), jnp.bfloat16)
    product = jax.jit(lambda a: a @ a)
    peak = 2 * 8192**3 / seconds(lambda: product(a), jax.block_until_ready, given.rounds)
    kind = jax.devices()[0].device_kind
    print(f"{kind}, jax {jax.__version__}: products of matrices at {peak / 1e12:.1f} TFLOP/s")
    groups = min(32, given.width)
    rng = np.random.default_rng(0)

    def network(side: int, remat: str):
        settings = config.UNet(
            channels=given.width, norm_groups=groups, compute="bfloat16", remat=remat
        )
        model = UNetModule(settings, 4)
        z = jnp.zeros((1, side, side, 4))
        condition = Cond(tokens=jnp.zeros((1, TOKENS, CONTEXT)))
        shapes = jax.eval_shape(model.init, jax.random.key(0), z, jnp.zeros(1), condition)["params"]
        params = jax.tree.map(
            lambda x: jnp.asarray(0.02 * rng.standard_normal(x.shape, np.float32)), shapes
        )
        return model, params

    for side in given.latents:
        for remat in given.remat:
            model, params = network(side, remat)
            adamw = optax.adamw(1e-4)

            def update(state, key, model=model, side=side, adamw=adamw):
                params, moments = state
                keys = jax.random.split(key, 4)
                shape = (given.batch, side, side, 4)
                z, noise = jax.random.normal(keys[0], shape), jax.random.normal(keys[1], shape)
                condition = Cond(tokens=jax.random.normal(keys[2], (given.batch, TOKENS, CONTEXT)))
                steps = jax.random.randint(keys[3], (given.batch,), 0, 1000)

                def loss(params):
                    found = model.apply({"params": params}, z, steps, condition)
                    return jnp.mean(jnp.square(found.astype(jnp.float32) - noise))

                changes, moments = adamw.update(jax.grad(loss)(params), moments, params)
                return optax.apply_updates(params, changes), moments

            state = [(params, adamw.init(params))]
            plain = state[0] if remat == "none" else None
            if plain:  # what is computed twice is not counted
                work = flops(jax.make_jaxpr(update)(plain, jax.random.key(0)))
            del params, plain
            compiled = jax.jit(update, donate_argnums=0)

            def step(state=state, compiled=compiled):
                state[0] = compiled(state[0], jax.random.key(1))
                return state[0]

            took = seconds(step, jax.block_until_ready, given.rounds)
            name = f"training, {side} x {side}, batch {given.batch}, remat {remat}"
            row(name, given.batch / took, work / took, peak, memory_bytes())
            state.clear()

    side = given.latents[-1]
    model, params = network(side, "none")
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)

    from ldm_jax.diffusion import sampling
    from ldm_jax.diffusion.denoiser import denoiser
    from ldm_jax.diffusion.guidance.classifier_free import classifier_free
    from ldm_jax.diffusion.guidance.joint import joint
    from ldm_jax.diffusion.guidance.scale import constant
    from ldm_jax.diffusion.samplers.loop import sample

    diffusion = config.Diffusion(beta_start=0.00085, beta_end=0.012)
    process, prediction = diffusion.build_process(), diffusion.build_prediction()
    trajectory = sampling.Sampling(sampler="ddim", steps=STEPS, spacing="trailing")

    @jax.jit
    def drawn(params, times, seeds):
        condition = Cond(tokens=jnp.ones((1, TOKENS, CONTEXT)))

        def call(z, t, cond=condition):
            return model.apply({"params": params}, z, t, cond)

        both = joint(
            call, (jax.tree.map(jnp.zeros_like, condition), condition), process, prediction
        )
        alone = denoiser(call, process, prediction)
        guided = classifier_free(alone, both, constant(GUIDANCE))
        keys = jax.vmap(jax.random.key)(seeds)
        noise = normal_like(keys, jnp.zeros((1, side, side, 4)))
        sampler = build_sampler("ddim")(**sampling.arguments(trajectory))
        return sample(sampler, guided, process, times, noise, keys)

    times = sampling.padded_times(trajectory, process)
    seeds = np.arange(1, dtype=np.uint32)
    took = seconds(lambda: drawn(params, times, seeds), jax.block_until_ready, given.rounds)
    row(f"sampling, {side} x {side}, {STEPS} steps", 1 / took, None, peak, memory_bytes())


def theirs(given: argparse.Namespace) -> None:
    """PyTorch."""
    import diffusers
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = "cuda" if torch.cuda.is_available() else "cpu"

    def wait(_):
        if device == "cuda":
            torch.cuda.synchronize()

    def memory():
        return torch.cuda.max_memory_allocated() if device == "cuda" else None

    torch.backends.cuda.matmul.allow_tf32 = True
    a = torch.ones(8192, 8192, dtype=torch.bfloat16, device=device)
    peak = 2 * 8192**3 / seconds(lambda: a @ a, wait, given.rounds)
    print(f"{device}, torch {torch.__version__}: products of matrices at {peak / 1e12:.1f} TFLOP/s")

    def network(side):
        return diffusers.UNet2DConditionModel(
            sample_size=side,
            block_out_channels=tuple(given.width * mult for mult in (1, 2, 4, 4)),
            norm_num_groups=min(32, given.width),
            cross_attention_dim=CONTEXT,
        ).to(device)

    for side in given.latents:
        for remat in given.remat:
            if remat == "dots":
                continue  # diffusers has none or all
            model = network(side).train()
            if remat == "full":
                model.enable_gradient_checkpointing()
            adamw = torch.optim.AdamW(model.parameters(), 1e-4, fused=device == "cuda")
            compiled = torch.compile(model)

            def step(call=compiled, adamw=adamw, side=side):
                shape = (given.batch, 4, side, side)
                z, noise = torch.randn(2, *shape, device=device)
                condition = torch.randn(given.batch, TOKENS, CONTEXT, device=device)
                steps = torch.randint(0, 1000, (given.batch,), device=device)
                adamw.zero_grad(set_to_none=True)
                with torch.autocast(device, torch.bfloat16):
                    found = call(z, steps, condition).sample
                torch.mean((found.float() - noise) ** 2).backward()
                adamw.step()

            if remat == "none":
                with FlopCounterMode(display=False) as counter:
                    step(model)
                work = counter.get_total_flops()
            took = seconds(step, wait, given.rounds)
            name = f"training, {side} x {side}, batch {given.batch}, remat {remat}"
            row(name, given.batch / took, work / took, peak, memory())
            del model, adamw, compiled, step

    side = given.latents[-1]
    model = network(side).to(torch.bfloat16).eval()
    model.forward = torch.compile(model.forward)
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        steps_offset=1,
    )
    pipeline = latents_pipeline(model, scheduler)
    condition = torch.ones(1, TOKENS, CONTEXT, dtype=torch.bfloat16, device=device)

    def draw():
        pipeline(
            prompt_embeds=condition,
            negative_prompt_embeds=torch.zeros_like(condition),
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            height=8 * side,
            width=8 * side,
            output_type="latent",
        )

    took = seconds(draw, wait, given.rounds)
    row(f"sampling, {side} x {side}, {STEPS} steps", 1 / took, None, peak, memory())


def main() -> None:
    """Measures one side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=("ours", "diffusers"))
    parser.add_argument("--latents", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--remat", nargs="+", default=["none", "full"])
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    if "none" not in given.remat:
        parser.error("--remat: expected none among them, from which operations are counted")
    {"ours": ours, "diffusers": theirs}[given.side](given)


if __name__ == "__main__":
    main()
