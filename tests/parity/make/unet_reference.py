"""Makes the references of the UNets that diffusers does not have, from the original code.

git clone https://github.com/CompVis/latent-diffusion
pip install torch==2.13.0 einops omegaconf numpy
PYTHONPATH=latent-diffusion python -m tests.parity.make.unet_reference
"""

import numpy as np
import torch
from ldm.modules.diffusionmodules.openaimodel import EncoderUNetModel, UNetModel

from tests.parity.cases import network_cases as cases
from tests.parity.folders import ARRAYS


def unet(case: cases.Case) -> UNetModel:
    """The original's network for a case."""
    c, tokens = case.config, "context" in case.inputs
    return UNetModel(
        image_size=8,
        in_channels=case.inputs["x"].shape[1],
        model_channels=c.channels,
        out_channels=case.outputs["y"][1],
        num_res_blocks=c.num_res_blocks,
        attention_resolutions=c.attention_factors,
        channel_mult=c.channel_mults,
        num_heads=-1 if c.head_channels else c.num_heads,
        num_head_channels=c.head_channels or -1,
        use_scale_shift_norm=c.scale_shift,
        resblock_updown=c.resample_blocks,
        use_spatial_transformer=tokens,
        transformer_depth=c.transformer_depth,
        context_dim=cases.CONTEXT if tokens else None,
        num_classes=len(case.inputs["vector"]) if "vector" in case.inputs else None,
    )


def outputs_and_gradients(case: cases.Case) -> dict[str, np.ndarray]:
    """The outputs of the original, and the gradients of the loss, named `grad:NAME`."""
    state = {key: torch.tensor(w) for key, w in cases.weights(case).items()}
    inputs = {name: torch.tensor(x) for name, x in case.inputs.items()}
    options = {}
    if "vector" in inputs:  # one class an example, whose vector it is
        vector = inputs.pop("vector")
        state["label_emb.weight"], options["y"] = vector, torch.arange(len(vector))
    network = unet(case)
    network.load_state_dict(state)
    moving = [inputs[name].requires_grad_() for name in ("x", "context") if name in inputs]
    y = network(inputs["x"], inputs["t"], context=inputs.get("context"), **options)
    (y * torch.tensor(cases.cotangents(case)["y"])).sum().backward()
    leaves = dict(network.named_parameters()) | dict(zip(("x", "context"), moving, strict=False))
    leaves |= {"vector": leaves.get("label_emb.weight")}
    gradients = {f"grad:{name}": leaves[name].grad.numpy() for name in case.gradients}
    return {"y": y.detach().numpy(), **gradients}


def classifier() -> dict[str, np.ndarray]:
    """The same of the half UNet that tells classes."""
    case = cases.CLASSIFIER
    c, x = case.config, torch.tensor(case.inputs["x"]).requires_grad_()
    network = EncoderUNetModel(
        image_size=x.shape[-1],
        in_channels=x.shape[1],
        model_channels=c.channels,
        out_channels=case.outputs["logits"][1],
        num_res_blocks=c.num_res_blocks,
        attention_resolutions=c.attention_factors,
        channel_mult=c.channel_mults,
        num_head_channels=c.head_channels,
        use_scale_shift_norm=c.scale_shift,
        resblock_updown=c.resample_blocks,
        pool="attention",
    )
    network.load_state_dict({key: torch.tensor(w) for key, w in cases.weights(case).items()})
    logits = network(x, torch.tensor(case.inputs["t"]))
    (logits * torch.tensor(cases.cotangents(case)["logits"])).sum().backward()
    leaves = dict(network.named_parameters()) | {"x": x}
    gradients = {f"grad:{name}": leaves[name].grad.numpy() for name in case.gradients}
    return {"logits": logits.detach().numpy(), **gradients}


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.savez_compressed(ARRAYS / "classifier.npz", **classifier())
    for name in ("unet_blocks", "unet_depth"):
        np.savez_compressed(ARRAYS / f"{name}.npz", **outputs_and_gradients(cases.CASES[name]))
