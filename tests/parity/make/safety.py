"""Makes safety.npz with diffusers and transformers: what their safety checker says.

pip install torch diffusers transformers
python -m tests.parity.make.safety
"""

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor

from tests.parity.cases import safety_cases as cases
from tests.parity.folders import ARRAYS


def checker() -> StableDiffusionSafetyChecker:
    """With drawn weights."""
    channels, layers, heads, dim, patch, size = cases.SIZES
    vision = {
        "hidden_size": channels,
        "intermediate_size": 4 * channels,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "patch_size": patch,
        "image_size": size,
        "projection_dim": dim,
    }
    network = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=dim))
    shapes = {name: x.shape for name, x in network.state_dict().items() if x.ndim}
    shapes = {name: shape for name, shape in shapes.items() if not name.endswith("position_ids")}
    state = {name: torch.tensor(x) for name, x in cases.state(shapes).items()}
    network.load_state_dict(state, strict=False)
    return network.eval()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    network, size = checker(), cases.SIZES[-1]
    processor = CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )
    images = cases.images()
    seen = processor([Image.fromarray(x) for x in images], return_tensors="pt").pixel_values
    black, unwanted = network(seen, list(images.astype(np.float32)))
    embeddings = network.visual_projection(network.vision_model(seen)[1])
    names = {name: np.array(x.shape) for name, x in network.state_dict().items()}
    print(sum(unwanted), "of", len(unwanted), list(names)[:6], list(names)[-3:])
    np.savez(
        ARRAYS / "safety.npz",
        seen=seen.permute(0, 2, 3, 1).numpy()[:2],
        embeddings=embeddings.numpy(),
        unwanted=np.array(unwanted),
        keys=np.array(list(names)),
    )
