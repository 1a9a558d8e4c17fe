"""What rayox sets for the libraries it uses, before any of them is imported: nothing is sent, nothing kept at home."""

import os
import tempfile
from pathlib import Path

SILENCE = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime reads it when it is imported
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
    "OPENCV_LOG_LEVEL": "OFF",  # what it would say of a broken image, rayox says with its path
}


def set_environment() -> None:
    """For this process and all that it starts; what the user has set himself stays."""
    for name, value in SILENCE.items():
        os.environ.setdefault(name, value)
    if "MPLCONFIGDIR" not in os.environ:  # matplotlib's list of fonts would go to the home folder
        os.environ["MPLCONFIGDIR"] = str(Path(tempfile.gettempdir()) / f"rayox-{os.getuid()}" / "matplotlib")
