"""Runs train.py in this process, on so many simulated devices; what it measures on the way is by
an extractor that takes no time.

python two_processes.py DEVICES [word of train.py ...]
"""

import importlib
import os
import runpy
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={sys.argv[1]}"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

TOOL = Path(__file__).parents[1] / "train.py"
sys.argv = [str(TOOL), *sys.argv[2:]]
sys.path[:0] = [str(TOOL.parent), str(Path(__file__).parent)]
for name, stand_in in importlib.import_module("linear_extractor").STAND_INS.items():
    setattr(importlib.import_module("ldm_jax.evaluate.in_training"), name, stand_in)
runpy.run_path(str(TOOL), run_name="__main__")
