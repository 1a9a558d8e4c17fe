"""What the processes of a Ray cluster import before they have anything to do; imports next to nothing itself.

It buys the import of torch (3.7 s, see first_call.py) in each process that a start waits for, and no import of Ray
Data's in a thread beside the main one, which is not measured. Without it each imports when its work arrives.
"""

import importlib
from contextlib import suppress

from rayox_platform.ray_internals.switch import attempt

IMPORT_RAY = "rayox_platform.ray_internals.preloading.import_ray"
IMPORT_ALL = "rayox_platform.ray_internals.preloading.import_all"


def import_ray() -> None:
    """What every actor of Ray Train and Ray Data and every data task imports."""
    _import("ray.data", "ray.train")


def import_all() -> None:
    """What a training worker imports, and what libraries would import later from threads of theirs beside it.

    torch imports its compiler when the first optimiser is made.
    """
    _import("rayox_platform.train.worker", "torch._dynamo", "numpy.ctypeslib", "ray.data.extensions")


def import_waiting() -> None:
    """What Ray Data imports in a driver once a run is fitted, which happens in a thread beside the main one."""
    attempt("imports of Ray Data ahead of its thread", _import_waiting, None)


def _import_waiting() -> None:
    for name in ("issue_detection.issue_detector_manager", "operator_event_exporter"):
        importlib.import_module(f"ray.data._internal.{name}")


def _import(*names: str) -> None:
    for name in names:
        with suppress(ImportError):  # who needs it says what is missing
            importlib.import_module(name)
