"""onnxruntime as rayox uses it: imported when it is needed, and silent.

From version 1.29 on it keeps a device id and a queue in the home folder and sends events to its makers, from the moment
it is imported; only a variable that is set before that keeps it from doing so.
"""

import os
from importlib import import_module
from types import ModuleType

SILENCE = {"ORT_DISABLE_TELEMETRY": "1"}


def silent_onnxruntime() -> ModuleType:
    """The module, imported without its telemetry."""
    os.environ.update(SILENCE)
    return import_module("onnxruntime")
