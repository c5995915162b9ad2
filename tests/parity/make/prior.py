"""Makes prior.npz with diffusers: the output of a small unCLIP prior, and a gradient.

pip install torch diffusers
python -m tests.parity.make.prior
"""

import numpy as np
import torch
from diffusers import PriorTransformer

from tests.parity.cases import drawn
from tests.parity.cases import prior_cases as cases
from tests.parity.folders import ARRAYS

if __name__ == "__main__":
    torch.set_num_threads(1)
    network = PriorTransformer(
        num_attention_heads=cases.HEADS,
        attention_head_dim=cases.HEAD_DIM,
        num_layers=cases.LAYERS,
        embedding_dim=cases.EMBEDDING,
        num_embeddings=cases.LENGTH,
    )
    shapes = {key: tuple(w.shape) for key, w in network.state_dict().items()}
    network.load_state_dict({k: torch.tensor(w) for k, w in drawn.state(shapes).items()})
    given = {name: torch.tensor(x) for name, x in cases.inputs().items()}
    y = network(
        given["x"], given["t"], given["pooled"], given["tokens"], given["mask"]
    ).predicted_image_embedding
    y.square().sum().backward()
    np.savez(ARRAYS / "prior.npz", y=y.detach().numpy(), query=network.prd_embedding.grad.numpy())
