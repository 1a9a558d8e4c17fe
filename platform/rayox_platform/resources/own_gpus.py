"""How many GPUs this machine has, without the seconds that importing torch takes."""

import os
import re
from pathlib import Path

DEVICE = re.compile(r"nvidia\d+")


def own_gpus(devices: Path = Path("/dev")) -> int:
    """Those that CUDA_VISIBLE_DEVICES leaves visible, as torch and Ray count them."""
    there = sum(1 for path in devices.glob("nvidia*") if DEVICE.fullmatch(path.name))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    shown = [word.strip() for word in visible.split(",")]
    wrong = next((place for place, word in enumerate(shown) if word in ("", "-1", "NoDevFiles")), len(shown))
    return min(there, wrong)
