"""Makes style_adapter.npz: a small StyleAdapter by TencentARC/T2I-Adapter, its branch SD.

pip install torch==2.13.0
git clone -b SD https://github.com/TencentARC/T2I-Adapter
PYTHONPATH=.:T2I-Adapter python -m tests.parity.make.style_adapter
"""

import importlib
import sys
from unittest import mock

import numpy as np
import torch

from tests.parity.cases import style_adapter as cases
from tests.parity.folders import ARRAYS

# what a StyleAdapter has no need of, and what imports OpenCV and einops
UNUSED = ("ldm.modules.extra_condition.api", "ldm.modules.diffusionmodules.util")

if __name__ == "__main__":
    torch.set_num_threads(1)
    with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in UNUSED}):
        kind = importlib.import_module("ldm.modules.encoders.adapter").StyleAdapter
    made = kind(num_head=cases.HEADS, **cases.SIZES).eval()
    shapes = {key: tuple(x.shape) for key, x in made.state_dict().items()}
    made.load_state_dict({key: torch.tensor(x) for key, x in cases.state(shapes).items()})
    with torch.no_grad():
        tokens = made(torch.tensor(cases.X)).numpy()
    print(f"{tokens.min():.3f} to {tokens.max():.3f}, deviation {tokens.std():.3f}")
    np.savez_compressed(ARRAYS / "style_adapter.npz", tokens=tokens)
