"""One small model of each kind of condition, and its inputs; all that both sides share.

Arrays are laid out as the original's, [B, C, H, W]. Weights are drawn from the original's names.
"""

from typing import NamedTuple

import numpy as np

from ldm_jax import config as c
from ldm_jax.weights.names import autoencoder, condition, model
from tests.parity.cases import drawn

STEPS, GUIDANCE = 20, 3.0  # of DDIM without noise
B, SIDE, FACTOR = 2, 8, 2
CHANNELS = 3  # of the latents
DIM = 24  # of tokens
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefg"]

FIRST_STAGE = c.VQAutoencoder(
    channels=32, channel_mults=(1, 2), num_res_blocks=1, mid_attention=False, codebook_size=8
)
UNET = c.UNet(
    channels=32, channel_mults=(1, 2), num_res_blocks=1, attention_factors=(2,), num_heads=4
)
ENCODER = {"dim": DIM, "layers": 2, "num_heads": 8, "head_dim": 64}


class Case(NamedTuple):
    """A model and its conditions.

    inputs, null: what the original's conditioner reads, with and without a condition
    """

    condition: c.Condition
    names: condition.ConditionNames
    inputs: dict[str, np.ndarray]
    null: dict[str, np.ndarray]


def _ids(*rows, length):
    """[CLS], words, [SEP], and nothing to the end."""
    found = np.zeros((len(rows), length), np.int64)
    for row, words in zip(found, rows, strict=True):
        row[: len(words) + 2] = [2, *words, 3]
    return found


_label = c.Label(num_classes=5, dim=DIM)
_text = c.Text(**ENCODER, length=6, vocab_size=len(VOCABULARY))
_layout = c.Layout(num_classes=3, max_objects=2, vocab_size=32, **ENCODER)  # 5 x 5 places
_map = c.SemanticMap(num_classes=4, stages=1, out_channels=2)
_classes = np.abs(drawn.normal("map", (B, 2 * SIDE, 2 * SIDE)) * 2).astype(np.int32) % 4
_image = np.tanh(drawn.normal("image", (B, 3, FACTOR * SIDE, FACTOR * SIDE)))
_mask = np.zeros((B, 1, FACTOR * SIDE, FACTOR * SIDE), np.float32)
_mask[0, :, 4:13, 3:9], _mask[1, :, :, 8:] = 1.0, 1.0
_hidden = np.ones_like(_mask)


def _masked(image, mask):
    """As the original's script for inpainting has it; 1 where the image is hidden."""
    return {"masked": np.where(mask > 0.5, -1.0, image).astype("f"), "mask": 2 * mask - 1}


CASES = {
    "unconditional": Case(None, condition.ConditionNames(), {}, {}),
    "label": Case(
        _label,
        _label.names(CHANNELS),
        {"label": np.asarray([1, 4])},
        {"label": np.asarray([5, 5])},
    ),
    "text": Case(
        _text,
        _text.names(CHANNELS),
        {"ids": _ids([4, 6], [10, 5, 5, 8], length=6)},
        {"ids": _ids([], [], length=6)},
    ),
    # a box and nothing; two boxes: class, upper left, lower right; then the whole image
    "layout": Case(
        _layout,
        _layout.names(CHANNELS),
        {"ids": np.asarray([[2, 6, 18, 31, 31, 31, 0, 24], [0, 0, 12, 1, 7, 24, 0, 24]])},
        {"ids": np.asarray([[31] * 6 + [0, 24]] * B)},
    ),
    "semantic map": Case(
        _map,
        _map.names(CHANNELS),
        {"map": np.eye(4, dtype="f")[_classes].transpose(0, 3, 1, 2)},
        {"map": np.zeros((B, 4, 2 * SIDE, 2 * SIDE), "f")},
    ),
    "low resolution": Case(
        c.LowResolution(factor=FACTOR),
        condition.ConditionNames(concat=3),
        {"image": np.tanh(drawn.normal("small", (B, 3, SIDE, SIDE)))},
        {"image": np.zeros((B, 3, SIDE, SIDE), "f")},
    ),
    "inpainting": Case(
        c.Inpainting(),
        condition.ConditionNames(concat=CHANNELS + 1, copies=True),
        _masked(_image, _mask),
        _masked(_image, _hidden),
    ),
    "retrieval": Case(
        c.Retrieval(dim=DIM),
        condition.ConditionNames(tokens=DIM),
        {"neighbours": drawn.normal("neighbours", (B, 4, DIM))},
        {"neighbours": np.zeros((B, 4, DIM), "f")},
    ),
}
HERE = {  # the same inputs as this project's conditioners read them
    "unconditional": {},
    "label": {"label": CASES["label"].inputs["label"]},
    "text": {"tokens": CASES["text"].inputs["ids"]},
    "layout": {  # x, y, width, height, class
        "boxes": np.asarray(
            [
                [[0.25, 0.25, 0.5, 0.5, 2], [0, 0, 0, 0, -1]],
                [[0.0, 0.0, 0.5, 0.5, 0], [0.5, 0.25, 0.5, 0.75, 1]],
            ],
            np.float32,
        )
    },
    "semantic map": {"segmentation": _classes},
    "low resolution": {
        "low_resolution": CASES["low resolution"].inputs["image"].transpose(0, 2, 3, 1)
    },
    "inpainting": {"image": _image.transpose(0, 2, 3, 1), "mask": _mask.transpose(0, 2, 3, 1)},
    "retrieval": {"neighbours": CASES["retrieval"].inputs["neighbours"]},
}


def names(case: Case) -> model.Names:
    """Of all weights of a case."""
    first_stage = autoencoder.vq_autoencoder(FIRST_STAGE)
    return model.names(UNET, CHANNELS, CHANNELS, first_stage, case.names)


def start() -> np.ndarray:
    """The initial noise of every trajectory."""
    return drawn.normal("start", (B, CHANNELS, SIDE, SIDE))
