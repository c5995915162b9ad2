"""Makes bert.npz with transformers, or with FOLDER and FILE.npz the outputs of the weights there.

pip install torch transformers
python -m tests.parity.make.bert [FOLDER FILE.npz]
"""

import sys

import numpy as np
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from tests.parity.cases import bert_cases as cases
from tests.parity.cases import drawn
from tests.parity.folders import ARRAYS


def small() -> BertModel:
    """With drawn weights."""
    config = BertConfig(
        vocab_size=cases.PIECES,
        hidden_size=cases.DIM,
        num_hidden_layers=cases.LAYERS,
        num_attention_heads=cases.HEADS,
        intermediate_size=cases.FF_DIM,
        max_position_embeddings=cases.POSITIONS,
    )
    network = BertModel(config)
    shapes = {key: w.shape for key, w in network.state_dict().items()}
    weights = {key: torch.tensor(w) for key, w in drawn.state(shapes).items()}
    network.load_state_dict(weights)
    return network


def answers(network, numbers, mask) -> dict[str, np.ndarray]:
    """States of words, 0 elsewhere, and sentence embeddings as sentence-transformers has them."""
    x = network.eval()(input_ids=numbers, attention_mask=mask).last_hidden_state
    mask = mask[:, :, None].to(x.dtype)
    mean = (x * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
    unit = torch.nn.functional.normalize(mean, p=2, dim=1)
    return {"tokens": (x * mask).numpy(), "sentence": unit.numpy()}


def published(folder: str) -> dict[str, np.ndarray]:
    words = AutoTokenizer.from_pretrained(folder)(
        cases.captions(),
        padding="max_length",
        truncation=True,
        max_length=cases.FULL_LENGTH,
        return_tensors="pt",
    )
    numbers, mask = words["input_ids"], words["attention_mask"]
    found = answers(BertModel.from_pretrained(folder), numbers, mask)
    return found | {"numbers": numbers.numpy().astype(np.int32)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    if len(sys.argv) > 1:
        np.savez(sys.argv[2], **published(sys.argv[1]))
    else:
        numbers = torch.tensor(cases.tokens()).long()
        found = answers(small(), numbers, (numbers != 0).long())
        np.savez(ARRAYS / "bert.npz", **found)
