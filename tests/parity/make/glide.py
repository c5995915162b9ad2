"""Makes glide.npz: GLIDE's networks and trajectories by openai/glide-text2im, small.

pip install torch==2.13.0 attrs pyyaml ftfy regex filelock requests
PYTHONPATH=.:glide-text2im python -m tests.parity.make.glide
"""

import sys
import types

import numpy as np
import torch
from glide_text2im import gaussian_diffusion
from glide_text2im.clip import encoders
from glide_text2im.model_creation import create_gaussian_diffusion, create_model

from tests.parity.cases import glide_cases as cases
from tests.parity.folders import ARRAYS

np.bool = bool  # which its code asks for


def filled(module: torch.nn.Module, prefix: str) -> torch.nn.Module:
    """The module with weights drawn from their names."""
    own = {key: tuple(x.shape) for key, x in module.state_dict().items()}
    state = {key: torch.tensor(x) for key, x in cases.state(own, prefix).items()}
    module.load_state_dict(state)
    return module.eval()


def network(kind: str) -> torch.nn.Module:
    """One of the four models."""
    made = create_model(
        16,
        num_channels=cases.UNET.channels,
        num_res_blocks=1,
        channel_mult="1,2",
        attention_resolutions="8",
        num_heads=1,
        num_head_channels=cases.UNET.head_channels,
        num_heads_upsample=-1,
        use_scale_shift_norm=True,
        dropout=0.1,
        text_ctx=cases.LENGTH,
        xf_width=cases.TEXT.dim,
        xf_layers=cases.TEXT.layers,
        xf_heads=cases.TEXT.num_heads,
        xf_final_ln=True,
        xf_padding=True,
        resblock_updown=True,
        use_fp16=False,
        cache_text_emb=False,
        inpaint="inpaint" in kind,
        super_res="upsample" in kind,
    )
    return filled(made, f"{kind}.")


def inputs(kind: str, count: int) -> dict[str, torch.Tensor]:
    """What a model is given beside noise, for both conditions or for one."""
    n = 32 if "upsample" in kind else 16
    ids = torch.tensor(cases.IDS[:count])
    found = {"tokens": ids, "mask": ids != cases.PADDING}
    if "inpaint" in kind:
        found["inpaint_image"] = torch.tensor(cases.IMAGE[n]).repeat(count, 1, 1, 1)
        found["inpaint_mask"] = torch.tensor(cases.MASK[n]).repeat(count, 1, 1, 1)
    if "upsample" in kind:
        found["low_res"] = torch.tensor(cases.LOW)
        if "inpaint" not in kind or count == 1:
            return found
        found["low_res"] = found["low_res"].repeat(count, 1, 1, 1)
    return found


class Drawn:
    """The noise of a trajectory, in place of torch's."""

    def __init__(self, noise: np.ndarray):
        self.noise = iter(torch.tensor(noise))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return next(self.noise).expand_as(x)


def trajectory(kind: str, guided: bool, cond_fn=None) -> torch.Tensor:
    """Ancestral steps, guided on the first three channels where asked."""
    model, count = network(kind), 2 if guided else 1
    given = inputs(kind, count)
    diffusion = create_gaussian_diffusion(
        steps=1000, noise_schedule="squaredcos_cap_v2", timestep_respacing=str(cases.STEPS)
    )
    gaussian_diffusion.th = types.SimpleNamespace(**vars(torch))
    gaussian_diffusion.th.randn_like = Drawn(cases.NOISE)

    def guided_model(x, t, **kwargs):
        both = model(torch.cat([x[:1], x[:1]]), t, **kwargs)
        eps, rest = both[:, :3], both[:, 3:]
        conditional, unconditional = torch.split(eps, 1)
        half = unconditional + cases.GUIDANCE * (conditional - unconditional)
        return torch.cat([torch.cat([half, half]), rest], dim=1)

    def paste(x0, *_):
        return x0 * (1 - given["inpaint_mask"]) + given["inpaint_image"] * given["inpaint_mask"]

    start = torch.tensor(cases.X[16]).repeat(count, 1, 1, 1)
    found = diffusion.p_sample_loop(
        guided_model if guided else model,
        start.shape,
        noise=start,
        device="cpu",
        clip_denoised=True,
        model_kwargs=given,
        cond_fn=cond_fn,
        denoised_fn=paste if "inpaint" in kind else None,
    )
    return found[:1]


def upsampled() -> torch.Tensor:
    """The upsampler's 27 steps of DDIM."""
    gaussian_diffusion.th = torch  # whose noise is multiplied with 0
    diffusion = create_gaussian_diffusion(
        steps=1000, noise_schedule="linear", timestep_respacing="fast27"
    )
    start = cases.NOISE_SCALE * torch.tensor(cases.X[32])
    return diffusion.ddim_sample_loop(
        network("upsample"),
        start.shape,
        noise=start,
        device="cpu",
        clip_denoised=True,
        model_kwargs=inputs("upsample", 1),
    )


class Clip:
    """The noised CLIP."""

    def __init__(self):
        of = cases.CLIP
        heads = {
            "n_embd": of.dim,
            "n_head": 2,
            "n_xf_blocks": 2,
            "n_head_state": 16,
            "device": "cpu",
        }
        text = {"n_bpe_vocab": of.vocab_size, "max_text_len": of.length}
        image = {"image_size": of.size, "patch_size": of.patch, "n_timestep": of.timesteps}
        self.text = filled(encoders.TextEncoder(**text, **heads), "clip_text.")
        self.image = filled(encoders.ImageEncoder(**image, **heads), "clip_image.")

    def caption(self) -> torch.Tensor:
        z = self.text(torch.tensor(cases.CLIP_IDS), torch.tensor([cases.CLIP_LENGTH]))
        return z / torch.linalg.norm(z, dim=-1, keepdim=True)

    def embed(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        z = self.image((x + 1) * 127.5, t)
        return z / torch.linalg.norm(z, dim=-1, keepdim=True)

    def gradient(self, x, t, **_) -> torch.Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            score = cases.CLIP.logit_scale * (self.caption().detach() * self.embed(x, t)).sum()
            return cases.CLIP_SCALE * torch.autograd.grad(score, x)[0].detach()


def main() -> None:
    found = {}
    with torch.no_grad():
        for kind in cases.KINDS:
            n = 32 if "upsample" in kind else 16
            x = torch.tensor(cases.X[n])
            found[f"{kind} y"] = network(kind)(x, torch.tensor(cases.T), **inputs(kind, 1))
        clip = Clip()
        found["clip text"] = clip.caption()
        found["clip image"] = clip.embed(torch.tensor(cases.X[16]), torch.tensor(cases.T))
        found["clip gradient"] = clip.gradient(torch.tensor(cases.X[16]), torch.tensor(cases.T))
        found["guided"] = trajectory("base", guided=True)
        found["inpainted"] = trajectory("inpaint", guided=True)
        found["clip guided"] = trajectory("base", guided=False, cond_fn=clip.gradient)
        found["upsampled"] = upsampled()
    np.savez_compressed(ARRAYS / "glide.npz", **{name: x.numpy() for name, x in found.items()})


if __name__ == "__main__":
    sys.exit(main())
