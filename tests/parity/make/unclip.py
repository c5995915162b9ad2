"""Makes unclip.npz with diffusers: a small Karlo from a caption to an image, stage by stage.

pip install torch diffusers transformers
python -m tests.parity.make.unclip
"""

import numpy as np
import torch
from diffusers import PriorTransformer, UnCLIPScheduler, UNet2DConditionModel, UNet2DModel
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel
from diffusers.schedulers import scheduling_unclip
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from tests.parity.cases import unclip_cases as cases
from tests.parity.folders import ARRAYS

KINDS = {
    "prior": PriorTransformer,
    "text_proj": UnCLIPTextProjModel,
    "decoder": UNet2DConditionModel,
    "super_res_first": UNet2DModel,
    "super_res_last": UNet2DModel,
}


def network(component: str) -> torch.nn.Module:
    """A component with weights drawn from their names."""
    config = cases.CONFIG[component]
    if component == "text_encoder":
        given = {name: x for name, x in config.items() if name != "model_type"}
        made = CLIPTextModelWithProjection(CLIPTextConfig(**given))
    else:
        made = KINDS[component](**config)
    shapes = {key: tuple(w.shape) for key, w in made.state_dict().items()}
    floating = {key: s for key, s in shapes.items() if made.state_dict()[key].is_floating_point()}
    state = {key: torch.tensor(w) for key, w in cases.state(component, floating).items()}
    made.load_state_dict(state, strict=False)
    return made.eval()


def schedule(**settings) -> UnCLIPScheduler:
    """A scheduler with its tables in float64: in float32 the variance at the lowest time, 4e-5, is
    off by 1e-3."""
    made = UnCLIPScheduler(**settings)
    t = np.arange(1001) / 1000
    bars = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
    made.betas = torch.tensor(np.minimum(1 - bars[1:] / bars[:-1], 0.999))
    made.alphas = 1.0 - made.betas
    made.alphas_cumprod = torch.cumprod(made.alphas, dim=0)
    made.one = torch.tensor(1.0, dtype=torch.float64)
    return made


def trajectory(stage: str, scheduler: UnCLIPScheduler, predict) -> torch.Tensor:
    """predict: (sample, time, whether it is the last) -> what the scheduler is given."""
    noise = iter(torch.tensor(cases.noise(stage)))
    scheduling_unclip.randn_tensor = lambda *args, **settings: next(noise)
    scheduler.set_timesteps(cases.COUNTS[stage])
    sample, times = torch.tensor(cases.start(stage)), scheduler.timesteps
    for i, t in enumerate(times):
        last = i + 1 == len(times)
        previous = None if last else times[i + 1]
        step = scheduler.step(predict(sample, t, last), t, sample, prev_timestep=previous)
        sample = step.prev_sample
    return sample


@torch.no_grad()
def main() -> None:
    ids, mask = torch.tensor(cases.IDS), torch.tensor(cases.MASK)
    text = network("text_encoder")(ids)
    embedding, states = text.text_embeds, text.last_hidden_state
    prior = network("prior")

    def guided(sample, t, last):
        both = prior(torch.cat([sample] * 2), t, embedding, states, mask).predicted_image_embedding
        u, c = both.chunk(2)
        return u + cases.GUIDANCE * (c - u)

    sample = schedule(
        variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=5.0
    )
    image_embedding = prior.post_process_latents(trajectory("prior", sample, guided))
    hidden, added = network("text_proj")(
        image_embeddings=image_embedding,
        prompt_embeds=embedding,
        text_encoder_hidden_states=states,
        do_classifier_free_guidance=True,
    )
    decoder = network("decoder")
    seen = torch.nn.functional.pad(mask, (4, 0), value=True)

    def decode(sample, t, last):
        given = {"encoder_hidden_states": hidden, "class_labels": added, "attention_mask": seen}
        u, c = decoder(torch.cat([sample] * 2), t, **given).sample.chunk(2)
        eps = u[:, :3] + cases.GUIDANCE * (c[:, :3] - u[:, :3])
        return torch.cat([eps, c[:, 3:]], dim=1)

    small = trajectory("decoder", schedule(variance_type="learned_range"), decode)
    small = small.clamp(-1, 1)
    size = cases.SHAPES["super_res"][2:]
    large = torch.nn.functional.interpolate(small, size, mode="bicubic", antialias=True)
    first, last_one = network("super_res_first"), network("super_res_last")

    def enlarge(sample, t, last):
        return (last_one if last else first)(torch.cat([sample, large], dim=1), t).sample

    image = trajectory("super_res", schedule(variance_type="fixed_small_log"), enlarge)
    found = {"prior": image_embedding, "decoder": small, "upsampler": image.clamp(-1, 1)}
    np.savez(ARRAYS / "unclip.npz", **{name: x.numpy() for name, x in found.items()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
