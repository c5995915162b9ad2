"""Runs train.py in this process, on so many simulated devices.

python two_processes.py DEVICES [word of train.py ...]
"""

import os
import runpy
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={sys.argv[1]}"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

TOOL = Path(__file__).parents[1] / "train.py"
sys.argv = [str(TOOL), *sys.argv[2:]]
sys.path.insert(0, str(TOOL.parent))
runpy.run_path(str(TOOL), run_name="__main__")
