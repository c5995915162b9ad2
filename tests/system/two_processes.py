"""Runs train.py in this process, on N simulated devices; what it measures on the way is by
an extractor that takes no time, of images that are not rounded: a pixel that another order of
sums puts on the other side of half a grey level moves a distance of ten of them by 1.6e-4.

python two_processes.py DEVICES [word of train.py ...]
"""

import importlib
import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

os.environ["JAX_NUM_CPU_DEVICES"] = sys.argv[1]
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

TOOL = Path(__file__).parents[2] / "train.py"
sys.argv = [str(TOOL), *sys.argv[2:]]
sys.path.insert(0, str(TOOL.parent))
measuring = importlib.import_module("ldm_jax.evaluate.in_training")
for name, stand_in in importlib.import_module("tests.support.linear_extractor").STAND_INS.items():
    setattr(measuring.features, name, stand_in)
measuring.image_files = SimpleNamespace(to_uint8=lambda x: (np.clip(x, -1.0, 1.0) + 1.0) * 127.5)
importlib.import_module("tests.support.traced_once").use()
runpy.run_path(str(TOOL), run_name="__main__")
