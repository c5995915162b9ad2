"""Makes processes.npz from torch and diffusers: tables, guidance and steps of learned variance.

pip install torch==2.13.0 diffusers==0.42.1 transformers==5.23.0
python -m tests.parity.make.process_reference
"""

import numpy as np
import torch
from diffusers import DDPMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from tests.parity.cases import process_cases as cases
from tests.parity.folders import ARRAYS


def tables():
    """alpha_bar of zero terminal SNR, sigmas of EDM and of shifted flows."""
    found = {}
    for name, (beta_1, beta_T) in cases.ZERO_SNR.items():
        made = DDPMScheduler(
            num_train_timesteps=cases.T,
            beta_schedule=name,
            beta_start=beta_1,
            beta_end=beta_T,
            rescale_betas_zero_snr=True,
        )
        found[f"zero snr {name}"] = made.alphas_cumprod.numpy()
    edm = EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0, sigma_schedule="karras")
    edm.set_timesteps(cases.EDM_STEPS)
    found["edm sigmas"] = edm.sigmas.numpy()
    found["edm c_noise"] = edm.timesteps.numpy()
    for shift in cases.SHIFTS:
        made = FlowMatchEulerDiscreteScheduler(num_train_timesteps=cases.T, shift=shift)
        found[f"flow sigmas {shift:g}"] = made.sigmas.numpy()
        found[f"flow timesteps {shift:g}"] = made.timesteps.numpy()
    return found


def learned_variances():
    """log-variance of steps whose variance was learned."""
    made = DDPMScheduler(
        num_train_timesteps=cases.T,
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        variance_type="learned_range",
    )
    rows = [made._get_variance(t - 1, torch.tensor(cases.VARIANCE)) for t in cases.TIMES]
    return {"learned log-variance": torch.stack(rows).numpy()}


def guidance():
    """Rescaled guidance of raw outputs, and dynamic thresholding."""
    cond, uncond = torch.tensor(cases.COND), torch.tensor(cases.UNCOND)
    guided = uncond + cases.SCALE * (cond - uncond)
    made = DDPMScheduler(
        thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=float("inf")
    )
    return {
        "rescaled": rescale_noise_cfg(guided, cond, cases.FRACTION).numpy(),
        "thresholded": made._threshold_sample(torch.tensor(cases.WIDE)).numpy(),
    }


if __name__ == "__main__":
    arrays = tables() | learned_variances() | guidance()
    np.savez_compressed(ARRAYS / "processes.npz", **arrays)
