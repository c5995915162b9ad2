"""Text to an image of 512 pixels by Stable Diffusion, here and in diffusers (PyTorch, eager).

python benchmarks/stable_diffusion.py RUN [--torch PYTHON --folder FOLDER] [--steps 3] [--rounds 3]

RUN is a run of configs/sd/v1.py or of another size of it, of any weights (random ones take as
long), and FOLDER what scripts/convert.py wrote of it. PYTHON is an interpreter with torch and
diffusers. Both draw the same prompt with DDIM and guidance, float32, from the tokenizer to the
pixels, in turns, once of `--steps` steps and once of 1. Prints medians of wall time of a step (the
difference of the two over the steps between) and of the rest, their ratios, and of each process
the most memory that it held, beside the bytes of the weights and what the compiler plans for
activations.
"""

import argparse
import contextlib
import statistics
import sys
from pathlib import Path

import turns

PROMPT, GUIDANCE = "a photograph of an astronaut riding a horse", 7.5
MIB = 2**20


def ours(run: str):
    """Number of parameters, and a function that draws an image in some steps."""
    import jax

    from ldm_jax import runs, sampling
    from ldm_jax.runtime import memory

    memory.share_arenas(runs.weights_files(run))  # as sample.py does
    trained = runs.load(Path(run))
    asked = {"prompt": [PROMPT], "sampler": "ddim", "guidance": GUIDANCE, "num": 1, "batch_size": 1}
    jitted, made = sampling.compiled(trained, sampling.resolve(trained, **asked)), []

    def generate(*given):
        if not made:
            made.append(jitted.lower(*given).compile())
            planned = made[0].memory_analysis().temp_size_in_bytes / MIB
            print(f"ours: activations take {planned:.0f} MiB", file=sys.stderr)
        return made[0](*given)

    def work(steps: int = 1):
        wanted = sampling.resolve(trained, **asked, steps=steps)
        with contextlib.redirect_stdout(sys.stderr):  # what it says of the request
            (images,) = sampling.draw_in_turn(trained, wanted, generate=generate)
        assert images.shape == (1, 512, 512, 3)

    return sum(x.size for x in jax.tree.leaves(trained.params)), work


def theirs(folder: str):
    """The same in diffusers."""
    import diffusers

    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    parts = pipeline.unet, pipeline.vae, pipeline.text_encoder

    def work(steps: int = 1):
        made = pipeline(
            PROMPT, num_inference_steps=steps, guidance_scale=GUIDANCE, output_type="np"
        )
        assert made.images.shape == (1, 512, 512, 3)

    return sum(x.numel() for part in parts for x in part.parameters()), work


SIDES = {"ours": ours, turns.PEER: theirs}


def peak(pid: int) -> float:
    """The most memory that a process has held, MiB (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**10


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--torch", metavar="PYTHON", help="with torch and diffusers")
    parser.add_argument("--folder", help="of diffusers, of the same weights")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return turns.serve(*SIDES[given.serve](given.run))
    running = {"ours": turns.Side(sys.executable, given.run, "--serve", "ours")}
    if given.torch:
        running[turns.PEER] = turns.Side(given.torch, given.folder, "--serve", turns.PEER)
    taken = {of: [] for of in running}
    for _ in range(given.rounds):
        for of, side in running.items():
            taken[of].append((side.work(1), side.work(given.steps)))
    found = {}
    for of, side in running.items():
        step = [(long - short) / (given.steps - 1) for short, long in taken[of]]
        rest = [short - a for (short, _), a in zip(taken[of], step, strict=True)]
        found[of] = statistics.median(step), statistics.median(rest), peak(side.process.pid)
        weights = 4 * side.count / MIB
        print(
            f"{of}: {side.count} parameters, {found[of][0]:.2f} s a step ({min(step):.2f} to "
            f"{max(step):.2f}), the rest {found[of][1]:.2f} s, first two {side.first:.1f} s, at "
            f"most {found[of][2]:.0f} MiB, {found[of][2] / weights:.2f} times the weights' "
            f"{weights:.0f}"
        )
        side.end()
    if given.torch:
        pairs = zip(found["ours"], found[turns.PEER], strict=True)
        step, rest, memory = (a / b for a, b in pairs)
        print(f"ratios: a step {step:.3f}, the rest {rest:.3f}, memory {memory:.3f}")


if __name__ == "__main__":
    main()
