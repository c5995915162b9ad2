"""Makes samplers.npz from diffusers' schedulers and the original samplers.

    pip install torch==2.13.0 diffusers==0.42.1 scipy einops pillow tqdm
    git clone https://github.com/CompVis/latent-diffusion ORIGINAL
    python -m tests.parity.make.sampler_reference ORIGINAL

Noise comes from `sampler_cases.py`, instead of the schedulers' own.
"""

import contextlib
import importlib
import sys
from types import SimpleNamespace
from unittest import mock

import diffusers
import numpy as np
import torch

from tests.parity.cases import sampler_cases as cases
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
LEVELS = (*cases.BETWEEN, "pairs")
RELATIVE = ("euler", "euler_ancestral", "heun", "lms")  # whose sample is z / alpha
DRAWING = ("ddpm", "euler_ancestral_discrete", "lcm")  # modules that take no noise from outside


def scheduler(case):
    """diffusers' scheduler for a trajectory, with its timesteps set."""
    kind, settings = SCHEDULERS[case.sampler]
    if case.schedule == cases.FLOW:
        return flow_scheduler(case, kind, settings)
    predictions = {"eps": "epsilon", "v": "v_prediction"}
    settings = settings | {
        "num_train_timesteps": cases.T,
        "beta_schedule": "squaredcos_cap_v2" if case.schedule == "cosine" else "scaled_linear",
        "prediction_type": predictions[case.prediction],
    }
    if case.schedule == "linear":
        settings["beta_schedule"] = "linear"
    if case.schedule != "cosine":
        settings |= dict(
            zip(("beta_start", "beta_end"), cases.SCHEDULES[case.schedule], strict=True)
        )
    if case.schedule == "zero_terminal_snr":
        settings["rescale_betas_zero_snr"] = True
    if case.grid == "uniform":  # the original's: a stride plus one, that ends at its step 0
        settings |= {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False}
    elif case.grid in ("leading", "trailing", "linspace"):
        settings["timestep_spacing"] = case.grid
        if case.sampler in ("ddim", "plms"):
            settings["set_alpha_to_one"] = True
    elif case.grid == "from data":
        settings["timestep_spacing"] = "leading"
    elif case.grid in ("karras", "exponential"):
        settings[f"use_{case.grid}_sigmas"] = True
    elif case.grid == "pairs":
        settings["use_exponential_sigmas"] = True
    made = kind(**settings)
    if case.grid in LEVELS:  # in float32, 1 - alpha_bar has lost digits where it is small
        power = {"linear": 1.0, "scaled_linear": 0.5}[case.schedule]
        first, last = (beta**power for beta in cases.SCHEDULES[case.schedule])
        betas = torch.linspace(first, last, cases.T, dtype=torch.float64) ** (1 / power)
        made.alphas_cumprod = torch.cumprod(1.0 - betas, 0)
    made.set_timesteps({"lcm": len(cases.LCM_STEPS), "pairs": cases.K + 1}.get(case.grid, cases.K))
    return made


def flow_scheduler(case, kind, settings):
    """The same for a rectified flow."""
    if case.sampler == "euler":
        made = diffusers.FlowMatchEulerDiscreteScheduler(cases.T)
        made.set_timesteps(cases.K)
        return made
    options = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    made = kind(num_train_timesteps=cases.T, **settings, **options)
    if case.sampler == "unipc":
        made.set_timesteps(sigmas=np.array(cases.FLOW_TIMES) / cases.T)
    else:
        made.set_timesteps(len(cases.FLOW_TIMES))
    return made


def timesteps(case, made):
    """The timesteps of the network; not whole where the spacing has others."""
    whole = made.timesteps.numpy()
    if case.schedule == cases.FLOW:
        return made.sigmas[:-1].numpy() * cases.T
    if case.grid not in LEVELS or whole.dtype == np.float32:
        return whole
    log_sigmas = np.log(np.array(((1 - made.alphas_cumprod) / made.alphas_cumprod) ** 0.5))
    return np.array([made._sigma_to_t(sigma, log_sigmas) for sigma in made.sigmas[:-1].numpy()])


def trajectory(case):
    """z after each step, [K, ...]."""
    made, found = scheduler(case), []
    relative = case.sampler in RELATIVE and case.schedule != cases.FLOW
    z = torch.tensor(cases.START)
    if relative:
        z = z * (made.sigmas[0] ** 2 + 1) ** 0.5
    for i, (step, name) in enumerate(zip(timesteps(case, made), made.timesteps, strict=True)):
        noise = torch.tensor(cases.NOISE[min(i, cases.K - 1)])
        shown = made.scale_model_input(z, name) if relative else z
        raw = cases.raw_output(shown, torch.tensor(float(step)), torch.cos)
        z = one_step(case, made, raw, name, z, noise)
        if relative:
            half = case.sampler == "heun" and not made.state_in_first_order
            if half and i + 1 < len(made.timesteps):  # the step to the data has one half
                continue
            found.append(z / (made.sigmas[made.step_index] ** 2 + 1) ** 0.5)
        else:
            found.append(z)
    if case.sampler == "plms":  # of its two calls in the first step the second ends the step
        found = found[1:]
    if case.grid == "pairs":  # two calls a step, but for the one to the data
        found = [*found[1::2], found[-1]]
    return np.stack([z.numpy() for z in found])


def one_step(case, made, raw, name, z, noise):
    """The scheduler's step for the network's output, with the given noise."""
    given = {"ddim": {"eta": case.eta, "variance_noise": noise}}
    given["dpmpp_2m_sde"] = {"variance_noise": noise}
    with contextlib.ExitStack() as patched:
        for module in DRAWING:
            name_of = f"diffusers.schedulers.scheduling_{module}.randn_tensor"
            patched.enter_context(mock.patch(name_of, lambda *_, **__: noise))
        return made.step(raw, name, z, **given.get(case.sampler, {})).prev_sample


def original(case):
    """z after each step of the original's sampler, [K, ...]."""
    module = importlib.import_module(f"ldm.models.diffusion.{case.sampler}")
    util = importlib.import_module("ldm.modules.diffusionmodules.util")
    if case.schedule == "cosine":
        betas = util.make_beta_schedule("cosine", cases.T)
    else:  # what it calls linear
        betas = util.make_beta_schedule("linear", cases.T, *cases.SCHEDULES[case.schedule])
    alpha_bar = np.cumprod(1.0 - betas)
    model = SimpleNamespace(
        num_timesteps=cases.T,
        device="cpu",
        betas=torch.tensor(betas, dtype=torch.float32),
        alphas_cumprod=torch.tensor(alpha_bar, dtype=torch.float32),
        alphas_cumprod_prev=torch.tensor(np.append(1.0, alpha_bar[:-1]), dtype=torch.float32),
        apply_model=lambda z, t, c: cases.raw_output(z, t.reshape(-1, 1, 1, 1), torch.cos),
    )
    made = getattr(module, f"{case.sampler.upper()}Sampler")(model)
    made.register_buffer = lambda name, value: setattr(made, name, value)  # on the CPU
    noise = iter(torch.tensor(cases.NOISE))
    drawing = mock.patch.object(module, "noise_like", lambda *_: next(noise))
    if case.sampler == "plms":  # multiplies it by 0, and asks twice in the first step
        drawing = mock.patch.object(module, "noise_like", lambda shape, *_: torch.zeros(shape))
    with drawing:
        _, between = made.sample(
            cases.K,
            len(cases.START),
            cases.SHAPE[1:],
            eta=case.eta or 0.0,
            x_T=torch.tensor(cases.START),
            log_every_t=1,
            verbose=False,
        )
    return np.stack([z.numpy() for z in between["x_inter"][1:]])


def samplers():
    """Tables, grids and trajectories."""
    tables = {
        f"alpha_bar {schedule}": scheduler(
            cases.Case("ddim", schedule, "v", "trailing", 0.0)
        ).alphas_cumprod.numpy()
        for schedule in cases.SCHEDULES
    }
    grids = {
        f"steps {grid}": timesteps_by(
            cases.Case("euler" if grid in cases.GRIDS[3:] else "ddim", "linear", "eps", grid)
        )
        for grid in cases.GRIDS
    }
    made = {
        case.name: (original if case.source == "original" else trajectory)(case)
        for case in cases.CASES
    }
    return tables | grids | made


def timesteps_by(case):
    """The steps of a grid."""
    return timesteps(case, scheduler(case))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.path.insert(0, sys.argv[1])
    torch.set_num_threads(1)
    np.savez_compressed(ARRAYS / "samplers.npz", **samplers())
