"""How long the training step of a full-size UNet takes to compile, at first and again.

    python benchmarks/compile_time.py

Stable Diffusion 1's UNet and its step of AdamW, latents of 64 x 64, for shapes alone: nothing is
allocated. Each depth (residual blocks a level) is compiled by a process of its own with an empty
cache, and by a second process that finds what the first has left.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import tyro

from ldm_jax import config as c
from ldm_jax.backbones.unet import UNetModule
from ldm_jax.runtime import compilation
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.optimizer import optimizer
from ldm_jax.train_step.state import make_train_step, minimise, new_state
from ldm_jax.types import Cond


@dataclass(frozen=True)
class Options:
    """The settings of the benchmark."""

    depths: tuple[int, ...] = (1, 2, 3)
    channels: int = 320
    size: int = 64
    """of latents"""
    batch_size: int = 2
    remat: str = "none"
    one: int | None = None
    """compile this depth alone, here"""


def compile_one(options: Options) -> None:
    """Compiles one depth; prints what it took."""
    compilation.use_cache()
    unet = UNetModule(
        c.UNet(channels=options.channels, num_res_blocks=options.one, remat=options.remat), 4
    )
    z = jax.ShapeDtypeStruct((options.batch_size, options.size, options.size, 4), jnp.float32)
    text = jax.ShapeDtypeStruct((options.batch_size, 77, 768), jnp.float32)
    t = jax.ShapeDtypeStruct((options.batch_size,), jnp.int32)

    def loss(params, batch, keys):
        raw = unet.apply(
            {"params": params["denoiser"]}, batch["image"], batch["t"], Cond(tokens=batch["text"])
        )
        total = jnp.mean(jnp.square(raw - batch["image"]))
        return total, {"loss": total}

    def init(key, z, t, text):
        return {"denoiser": unet.init(key, z, t, Cond(tokens=text))["params"]}

    objective = minimise(loss, ("denoiser",))
    optim = optimizer(c.Optim(), 1000, ("denoiser",))
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = jax.eval_shape(init, key, z, t, text)
    state = jax.eval_shape(lambda params: new_state(params, optim, objective), params)
    spread = devices("jit")
    position = jax.ShapeDtypeStruct((options.batch_size,), jnp.int32)
    batch = spread.like({"image": z, "t": t, "text": text, "position": position})
    lifted = spread.parallelize(make_train_step(objective, optim, 0.999), state)
    found = compilation.compile_ahead(lifted, spread.target(state), {}, batch, key)
    count = sum(x.size for x in jax.tree.leaves(params))
    how = "from the cache" if found.cached else "cold"
    print(
        f"{options.one} residual blocks a level, {count / 1e6:.0f} M parameters: "
        f"{found.seconds:.1f} s {how}"
    )


def main(options: Options) -> None:
    """Compiles each depth twice, each time in a new process."""
    if options.one is not None:
        compile_one(options)
        return
    root = Path(__file__).parents[1]
    for depth in options.depths:
        with tempfile.TemporaryDirectory() as cache:
            words = [sys.executable, __file__, "--one", str(depth), *sys.argv[1:]]
            environment = {**os.environ, "LDM_JAX_CACHE": cache}
            for _ in range(2):
                subprocess.run(words, check=True, cwd=root, env=environment)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
