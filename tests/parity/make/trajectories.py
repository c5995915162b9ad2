"""Makes trajectories.npz from the original code: networks, conditioners and DDIM sampler.

git clone https://github.com/CompVis/latent-diffusion
git clone https://github.com/CompVis/taming-transformers
pip install torch==2.13.0 einops omegaconf tqdm numpy
PYTHONPATH=latent-diffusion:taming-transformers python -m tests.parity.make.trajectories
"""

import sys
from unittest import mock

import numpy as np
import torch
from ldm.models.diffusion.ddim import DDIMSampler
from ldm.modules.diffusionmodules.model import Encoder
from ldm.modules.diffusionmodules.openaimodel import UNetModel
from ldm.modules.diffusionmodules.util import make_beta_schedule

from ldm_jax.weights import table
from tests.parity.cases import drawn
from tests.parity.cases import trajectory_cases as cases
from tests.parity.folders import ARRAYS

for absent in ("clip", "kornia"):  # which encoders of other models want
    sys.modules.setdefault(absent, mock.MagicMock())
from ldm.modules.encoders.modules import (  # noqa: E402
    BERTEmbedder,
    ClassEmbedder,
    SpatialRescaler,
)


class FirstStage(torch.nn.Module):
    """The part of a VQ stage that makes latents."""

    def __init__(self):
        super().__init__()
        config, z = cases.FIRST_STAGE, cases.FIRST_STAGE.z_channels
        self.encoder = Encoder(
            double_z=False,
            z_channels=z,
            resolution=cases.SIDE * cases.FACTOR,
            in_channels=3,
            out_ch=3,
            ch=config.channels,
            ch_mult=config.channel_mults,
            num_res_blocks=config.num_res_blocks,
            attn_resolutions=[],
            attn_type="none",
        )
        self.quant_conv = torch.nn.Conv2d(z, z, 1)

    def forward(self, x):
        return self.quant_conv(self.encoder(x))


def conditioner(name: str) -> torch.nn.Module:
    """The original's, where there is one."""
    config = cases.CASES[name].condition
    if name == "label":
        return ClassEmbedder(cases.DIM, config.num_classes + 1, key="label")
    if name in ("text", "layout"):
        sizes = (cases.DIM, config.layers, config.vocab_size, config.length)
        return BERTEmbedder(*sizes, device="cpu", use_tokenizer=False)
    if name == "semantic map":
        return SpatialRescaler(config.stages, in_channels=4, out_channels=config.out_channels)
    return FirstStage() if name == "inpainting" else torch.nn.Identity()


class Model(torch.nn.Module):
    """What the sampler asks of a latent diffusion model."""

    num_timesteps, device = 1000, torch.device("cpu")

    def __init__(self, name: str):
        super().__init__()
        case, c = cases.CASES[name], cases.UNET
        self.name = name
        self.crosses = case.names.tokens is not None
        self.diffusion_model = UNetModel(
            image_size=cases.SIDE,
            in_channels=cases.CHANNELS + case.names.concat,
            out_channels=cases.CHANNELS,
            model_channels=c.channels,
            num_res_blocks=c.num_res_blocks,
            attention_resolutions=c.attention_factors,
            channel_mult=c.channel_mults,
            num_heads=c.num_heads,
            use_spatial_transformer=self.crosses,
            context_dim=case.names.tokens,
        )
        self.cond_stage_model = conditioner(name)
        betas = make_beta_schedule("linear", self.num_timesteps, 0.0015, 0.0195)
        bar = np.cumprod(1.0 - betas)
        for key, values in {
            "betas": betas,
            "alphas_cumprod": bar,
            "alphas_cumprod_prev": np.append(1.0, bar[:-1]),
        }.items():
            setattr(self, key, torch.tensor(values, dtype=torch.float32))

    def condition(self, inputs):
        """The network's conditions; concatenated, or attended to."""
        if self.name == "label":
            return self.cond_stage_model(inputs)
        if self.name == "inpainting":
            z = self.cond_stage_model(inputs["masked"])
            mask = torch.nn.functional.interpolate(inputs["mask"], size=z.shape[-2:])
            return torch.cat([z, mask], dim=1)
        return self.cond_stage_model(next(iter(inputs.values()))) if inputs else None

    def apply_model(self, z, t, given):
        if self.crosses:
            return self.diffusion_model(z, t, context=given)
        return self.diffusion_model(z if given is None else torch.cat([z, given], dim=1), t)


def load(model: Model, case: cases.Case) -> None:
    """Gives a model its drawn weights; none may be left over."""
    state = drawn.state(table.shapes(cases.names(case).table))
    if case.names.copies:
        state |= {copy: state[key] for copy, key in cases.names(case).copies.items()}
    state = {key.removeprefix("model."): torch.tensor(w) for key, w in state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    unused = ("first_stage_model.", "cond_stage_model.decoder", "cond_stage_model.post_quant_conv")
    unused += ("cond_stage_model.quantize",)
    assert all("to_logits" in key for key in missing), missing
    assert all(key.startswith(unused) for key in unexpected), unexpected


@torch.no_grad()
def trajectory(name: str) -> np.ndarray:
    """The latents at the end."""
    case = cases.CASES[name]
    model = Model(name).eval()
    load(model, case)
    given, unconditional = (
        model.condition({key: torch.tensor(x) for key, x in inputs.items()})
        for inputs in (case.inputs, case.null)
    )
    sampler = DDIMSampler(model)
    sampler.register_buffer = lambda key, value: setattr(sampler, key, value)  # on the CPU
    found, _ = sampler.sample(
        cases.STEPS,
        cases.B,
        (cases.CHANNELS, cases.SIDE, cases.SIDE),
        conditioning=given,
        eta=0.0,
        x_T=torch.tensor(cases.start()),
        unconditional_guidance_scale=1.0 if given is None else cases.GUIDANCE,
        unconditional_conditioning=unconditional,
        verbose=False,
    )
    return found.numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.savez_compressed(ARRAYS / "trajectories.npz", **{n: trajectory(n) for n in cases.CASES})
