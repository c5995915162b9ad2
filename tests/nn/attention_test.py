"""Attention of several devices."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process
SCRIPT = Path(__file__).with_name("attention_devices.py")


def test_on_eight_devices_it_is_the_attention_of_one():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
