"""Makes samplers.npz from diffusers' schedulers and the original samplers.

    pip install torch==2.13.0 diffusers==0.42.1 scipy einops pillow tqdm
    git clone https://github.com/CompVis/latent-diffusion ORIGINAL
    python -m tests.parity.make.sampler_reference ORIGINAL

Noise comes from `walks.py`, in place of what the schedulers would draw.
"""

import contextlib
import importlib
import sys
from types import SimpleNamespace
from unittest import mock

import diffusers
import numpy as np
import torch

from tests.parity.cases import walks
from tests.parity.folders import ARRAYS

SCHEDULERS = {
    "ddim": (diffusers.DDIMScheduler, {"clip_sample": False}),
    "ddpm": (diffusers.DDPMScheduler, {"clip_sample": False, "variance_type": "fixed_small"}),
    "ddim_inversion": (diffusers.DDIMInverseScheduler, {"clip_sample": False}),
    "plms": (diffusers.PNDMScheduler, {"skip_prk_steps": True}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "heun": (diffusers.HeunDiscreteScheduler, {}),
    "lms": (diffusers.LMSDiscreteScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}),
    # the order of the last but one of fewer than 15 steps would be lowered
    "dpmpp_3m": (
        diffusers.DPMSolverMultistepScheduler,
        {"solver_order": 3, "lower_order_final": False},
    ),
    "dpmpp_2m_sde": (
        diffusers.DPMSolverMultistepScheduler,
        {"algorithm_type": "sde-dpmsolver++"},
    ),
    "dpmpp_2s": (diffusers.DPMSolverSinglestepScheduler, {}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "lcm": (diffusers.LCMScheduler, {"clip_sample": False}),
}
LEVELS = (*walks.BETWEEN, "pairs")
RELATIVE = ("euler", "euler_ancestral", "heun", "lms")  # whose sample is z / alpha
DRAWING = ("ddpm", "euler_ancestral_discrete", "lcm")  # modules that take no noise from outside


def scheduler(walk):
    """diffusers' scheduler for a walk, its grid set."""
    kind, settings = SCHEDULERS[walk.sampler]
    if walk.schedule == walks.FLOW:
        return flow_scheduler(walk, kind, settings)
    predictions = {"eps": "epsilon", "v": "v_prediction"}
    settings = settings | {
        "num_train_timesteps": walks.T,
        "beta_schedule": "squaredcos_cap_v2" if walk.schedule == "cosine" else "scaled_linear",
        "prediction_type": predictions[walk.prediction],
    }
    if walk.schedule == "linear":
        settings["beta_schedule"] = "linear"
    if walk.schedule != "cosine":
        settings |= dict(
            zip(("beta_start", "beta_end"), walks.SCHEDULES[walk.schedule], strict=True)
        )
    if walk.schedule == "zero_terminal_snr":
        settings["rescale_betas_zero_snr"] = True
    if walk.grid == "uniform":  # the original's: a stride plus one, that ends at its step 0
        settings |= {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False}
    elif walk.grid in ("leading", "trailing", "linspace"):
        settings["timestep_spacing"] = walk.grid
        if walk.sampler in ("ddim", "plms"):
            settings["set_alpha_to_one"] = True
    elif walk.grid == "from data":
        settings["timestep_spacing"] = "leading"
    elif walk.grid in ("karras", "exponential"):
        settings[f"use_{walk.grid}_sigmas"] = True
    elif walk.grid == "pairs":
        settings["use_exponential_sigmas"] = True
    made = kind(**settings)
    if walk.grid in LEVELS:  # in float32, 1 - alpha_bar has lost digits where it is small
        power = {"linear": 1.0, "scaled_linear": 0.5}[walk.schedule]
        first, last = (beta**power for beta in walks.SCHEDULES[walk.schedule])
        betas = torch.linspace(first, last, walks.T, dtype=torch.float64) ** (1 / power)
        made.alphas_cumprod = torch.cumprod(1.0 - betas, 0)
    made.set_timesteps({"lcm": len(walks.LCM_STEPS), "pairs": walks.K + 1}.get(walk.grid, walks.K))
    return made


def flow_scheduler(walk, kind, settings):
    """The same for a rectified flow."""
    if walk.sampler == "euler":
        made = diffusers.FlowMatchEulerDiscreteScheduler(walks.T)
        made.set_timesteps(walks.K)
        return made
    told = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    made = kind(num_train_timesteps=walks.T, **settings, **told)
    if walk.sampler == "unipc":
        made.set_timesteps(sigmas=np.array(walks.FLOW_TIMES) / walks.T)
    else:
        made.set_timesteps(len(walks.FLOW_TIMES))
    return made


def told(walk, made):
    """The steps that the network is told; between whole ones where the grid is."""
    whole = made.timesteps.numpy()
    if walk.schedule == walks.FLOW:
        return made.sigmas[:-1].numpy() * walks.T
    if walk.grid not in LEVELS or whole.dtype == np.float32:
        return whole
    log_sigmas = np.log(np.array(((1 - made.alphas_cumprod) / made.alphas_cumprod) ** 0.5))
    return np.array([made._sigma_to_t(sigma, log_sigmas) for sigma in made.sigmas[:-1].numpy()])


def trajectory(walk):
    """z after each step, [K, ...]."""
    made, found = scheduler(walk), []
    relative = walk.sampler in RELATIVE and walk.schedule != walks.FLOW
    z = torch.tensor(walks.START)
    if relative:
        z = z * (made.sigmas[0] ** 2 + 1) ** 0.5
    for i, (step, name) in enumerate(zip(told(walk, made), made.timesteps, strict=True)):
        noise = torch.tensor(walks.NOISE[min(i, walks.K - 1)])
        shown = made.scale_model_input(z, name) if relative else z
        raw = walks.raw_output(shown, torch.tensor(float(step)), torch.cos)
        z = one_step(walk, made, raw, name, z, noise)
        if relative:
            half = walk.sampler == "heun" and not made.state_in_first_order
            if half and i + 1 < len(made.timesteps):  # the step to the data has one half
                continue
            found.append(z / (made.sigmas[made.step_index] ** 2 + 1) ** 0.5)
        else:
            found.append(z)
    if walk.sampler == "plms":  # of its two calls in the first step the second ends the step
        found = found[1:]
    if walk.grid == "pairs":  # two calls a step, but for the one to the data
        found = [*found[1::2], found[-1]]
    return np.stack([z.numpy() for z in found])


def one_step(walk, made, raw, name, z, noise):
    """What the scheduler makes of the network's answer, with the noise that it is given."""
    given = {"ddim": {"eta": walk.eta, "variance_noise": noise}}
    given["dpmpp_2m_sde"] = {"variance_noise": noise}
    with contextlib.ExitStack() as patched:
        for module in DRAWING:
            name_of = f"diffusers.schedulers.scheduling_{module}.randn_tensor"
            patched.enter_context(mock.patch(name_of, lambda *_, **__: noise))
        return made.step(raw, name, z, **given.get(walk.sampler, {})).prev_sample


def original(walk):
    """z after each step of the original's sampler, [K, ...]."""
    module = importlib.import_module(f"ldm.models.diffusion.{walk.sampler}")
    util = importlib.import_module("ldm.modules.diffusionmodules.util")
    if walk.schedule == "cosine":
        betas = util.make_beta_schedule("cosine", walks.T)
    else:  # what it calls linear
        betas = util.make_beta_schedule("linear", walks.T, *walks.SCHEDULES[walk.schedule])
    alpha_bar = np.cumprod(1.0 - betas)
    model = SimpleNamespace(
        num_timesteps=walks.T,
        device="cpu",
        betas=torch.tensor(betas, dtype=torch.float32),
        alphas_cumprod=torch.tensor(alpha_bar, dtype=torch.float32),
        alphas_cumprod_prev=torch.tensor(np.append(1.0, alpha_bar[:-1]), dtype=torch.float32),
        apply_model=lambda z, t, c: walks.raw_output(z, t.reshape(-1, 1, 1, 1), torch.cos),
    )
    made = getattr(module, f"{walk.sampler.upper()}Sampler")(model)
    made.register_buffer = lambda name, value: setattr(made, name, value)  # on the CPU
    noise = iter(torch.tensor(walks.NOISE))
    drawing = mock.patch.object(module, "noise_like", lambda *_: next(noise))
    if walk.sampler == "plms":  # multiplies it by 0, and asks twice in the first step
        drawing = mock.patch.object(module, "noise_like", lambda shape, *_: torch.zeros(shape))
    with drawing:
        _, between = made.sample(
            walks.K,
            len(walks.START),
            walks.SHAPE[1:],
            eta=walk.eta or 0.0,
            x_T=torch.tensor(walks.START),
            log_every_t=1,
            verbose=False,
        )
    return np.stack([z.numpy() for z in between["x_inter"][1:]])


def samplers():
    """Tables, grids and trajectories."""
    tables = {
        f"alpha_bar {schedule}": scheduler(
            walks.Walk("ddim", schedule, "v", "trailing", 0.0)
        ).alphas_cumprod.numpy()
        for schedule in walks.SCHEDULES
    }
    grids = {
        f"steps {grid}": told_by(
            walks.Walk("euler" if grid in walks.GRIDS[3:] else "ddim", "linear", "eps", grid)
        )
        for grid in walks.GRIDS
    }
    made = {
        walk.name: (original if walk.source == "original" else trajectory)(walk)
        for walk in walks.WALKS
    }
    return tables | grids | made


def told_by(walk):
    """The steps of a grid."""
    return told(walk, scheduler(walk))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.path.insert(0, sys.argv[1])
    torch.set_num_threads(1)
    np.savez_compressed(ARRAYS / "samplers.npz", **samplers())
