"""The noising process in diffusers' scheduler_config.json."""

from collections.abc import Mapping
from typing import Any

from ldm_jax.errors import InputError

PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
SCHEDULES = {"scaled_linear": "scaled_linear", "linear": "linear", "squaredcos_cap_v2": "cosine"}


def read_scheduler(s: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the noising process of a scheduler.

    Raises:
        InputError: another process.
    """
    schedule, prediction = s.get("beta_schedule", "linear"), s.get("prediction_type", "epsilon")
    if schedule not in SCHEDULES or prediction not in PREDICTIONS or s.get("trained_betas"):
        raise InputError(
            f"scheduler has beta_schedule {schedule} and prediction_type {prediction}: expected "
            f"one of {', '.join(SCHEDULES)} and one of {', '.join(PREDICTIONS)}, without "
            "trained_betas"
        )
    return {
        "schedule": SCHEDULES[schedule],
        "steps": s.get("num_train_timesteps", 1000),
        "beta_start": s.get("beta_start", 1e-4),
        "beta_end": s.get("beta_end", 0.02),
        "zero_terminal_snr": s.get("rescale_betas_zero_snr", False),
        "prediction": PREDICTIONS[prediction],
    }


def read_spacing(s: Mapping[str, Any]) -> str:
    """The timestep spacing of a scheduler; leading with an offset of 1 is DDIM's original."""
    if s.get("use_karras_sigmas"):
        return "karras"
    leading = "uniform" if s.get("steps_offset") else "leading"
    spacings = {"leading": leading, "trailing": "trailing", "linspace": "linspace"}
    return spacings.get(s.get("timestep_spacing"), "uniform")


def scheduler_config(d: Any, spacing: str = "uniform") -> dict[str, Any]:
    """The scheduler_config.json of DDIM, with the timestep spacing where DDIM has it there.

    Raises:
        InputError: a process that diffusers' discrete schedulers do not have.
    """
    found = [name for name, here in SCHEDULES.items() if here == d.schedule]
    kinds = [name for name, here in PREDICTIONS.items() if here == d.prediction]
    if not (found and kinds) or d.learned_variance:
        raise InputError(
            f"diffusion.schedule is {d.schedule} and diffusion.prediction {d.prediction}: expected "
            f"one of {', '.join(SCHEDULES.values())} and one of {', '.join(PREDICTIONS.values())}, "
            "without learned_variance, since schedulers of diffusers have no others"
        )
    return {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": d.steps,
        "beta_schedule": found[0],
        "beta_start": d.beta_start,
        "beta_end": d.beta_end,
        "prediction_type": kinds[0],
        "rescale_betas_zero_snr": d.zero_terminal_snr,
        "clip_sample": False,
        "set_alpha_to_one": spacing == "leading",
        "steps_offset": int(spacing == "uniform"),
        "timestep_spacing": spacing if spacing in ("trailing", "linspace") else "leading",
    }
