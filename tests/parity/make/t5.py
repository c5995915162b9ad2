"""Makes t5.npz with transformers: a small T5's states of all tokens, and a gradient.

pip install torch transformers
python -m tests.parity.make.t5
"""

import numpy as np
import torch
from transformers import T5Config, T5EncoderModel

from tests.parity.cases import t5_cases as cases
from tests.parity.folders import ARRAYS


def small() -> T5EncoderModel:
    """With drawn weights."""
    config = T5Config(
        vocab_size=cases.PIECES,
        d_model=cases.DIM,
        d_kv=cases.HEAD_DIM,
        d_ff=cases.FF_DIM,
        num_layers=cases.LAYERS,
        num_heads=cases.HEADS,
        feed_forward_proj="gated-gelu",
    )
    network = T5EncoderModel(config)
    shapes = {key: tuple(w.shape) for key, w in network.state_dict().items()}
    shapes.pop("encoder.embed_tokens.weight", None)
    weights = {key: torch.tensor(w) for key, w in cases.state(shapes).items()}
    network.load_state_dict(weights, strict=False)
    return network.eval()


if __name__ == "__main__":
    torch.set_num_threads(1)
    network, tokens = small(), torch.tensor(cases.tokens()).long()
    states = network(input_ids=tokens, attention_mask=(tokens != 0).long()).last_hidden_state
    states.square().sum().backward()
    table = network.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    np.savez_compressed(
        ARRAYS / "t5.npz", tokens=states.detach().numpy()[:, ::5], relative=table.grad.numpy()
    )
