"""Time per sampling step above the bare network call, on the demonstration model.

python benchmarks/sampling_overhead.py [--batch 16] [--steps 25] [--rounds 15]

The model of configs/demo.py with random weights. Compares one compiled call of its network with the
whole compiled sampling function (but for decoding), a step of which calls the network once
(guidance 1) or twice (guidance 2), in turns in one process. Prints medians over the rounds, of wall
time and of the time that the processor worked, which other programs disturb less.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import cli
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.sampling.generate import make_generate

CONFIG = Path(__file__).parents[1] / "configs" / "demo.py"
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def main() -> None:
    """Builds both functions, times them in turns, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("batch", 16), ("steps", 25), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    B, K = options.batch, options.steps

    experiment = cli.load_config(CONFIG)
    condition = experiment.conditions[0]
    tokenizer = tokens.learn(["a large red circle"], condition.vocab_size, condition.length)
    model = experiment.build({"tokens": tokenizer})
    factor = model.first_stage.factor
    side = experiment.data.image_size // factor

    def decode(params, z):  # the one part that is no step
        return z[..., :3]

    model = model._replace(first_stage=model.first_stage._replace(decode=decode, factor=1))
    params = jax.jit(model.init)(jax.random.key(0))
    params["denoiser"] = jax.tree.map(lambda x: x + 0.01, params["denoiser"])  # no zero layers
    params["first_stage"] = {}
    rows = np.stack([tokens.encode(tokenizer, "a large red circle")] * B)
    cond = model.conditioner.apply(params["conditioner"], {"tokens": rows})
    z = jax.random.normal(jax.random.key(1), (B, side, side, model.first_stage.channels))
    steps = jnp.full(B, 500)
    seeds = np.arange(B, dtype=np.uint32)
    trajectory = sampling.Sampling(sampler="ddim", steps=K, spacing="trailing")
    times = sampling.padded_times(trajectory, model.process)
    network = jax.jit(model.denoise)
    generate = make_generate(model, build_sampler("ddim"), side)

    def calls():
        for _ in range(K):
            jax.block_until_ready(network(params, z, steps, cond))

    def trajectories(guidance):
        options = sampling.arguments(trajectory)
        inputs = {"tokens": rows}
        jax.block_until_ready(generate(params, inputs, seeds, times, guidance, options))

    work = {"call": calls, "one": lambda: trajectories(1.0), "two": lambda: trajectories(2.0)}
    for function in work.values():  # compiles
        function()
    spent = {name: [] for name in work}
    for _ in range(options.rounds):
        for name, function in work.items():
            before = [clock() for clock in CLOCKS.values()]
            function()
            after = [clock() for clock in CLOCKS.values()]
            spent[name].append(np.subtract(after, before) / K)
    print(f"{jax.devices()[0].device_kind}, batch {B}, {K} of {model.process.T} steps, ddim")
    for i, clock in enumerate(CLOCKS):
        call, one, two = (1e3 * np.median([row[i] for row in spent[name]]) for name in work)
        more = one / call - 1.0, two / (2.0 * call) - 1.0
        print(
            f"{clock + ' time:':15} network {call:.2f} ms; a step {one:.2f} ms ({more[0]:+.1%}), "
            f"a guided step {two:.2f} ms ({more[1]:+.1%} above two calls)"
        )


if __name__ == "__main__":
    main()
