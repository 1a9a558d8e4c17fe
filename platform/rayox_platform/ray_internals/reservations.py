"""Ray's table of who has which machine, looked at anew: it is up to 20 s old, and names machines that are gone.

An elastic run asks it after a failure how many workers fit; with the old answer Ray waits for the lost machine until
its own time-out, and only then asks again: 10 s of a recovery that takes 18.6 with it. Without it the run waits.
"""

import time
from threading import Thread

import ray

from rayox_model.core.plain_ray import is_plain
from rayox_platform.ray_internals.switch import attempt

COORDINATOR = "AutoscalingCoordinator"  # the actor's name and its namespace
REFRESH_SECONDS, EVERY_SECONDS, ANSWER_SECONDS = 40.0, 1.0, 5.0


def refresh_for_a_while() -> None:
    """Every second until the cluster has noticed what is gone; returns at once."""
    if not is_plain():
        Thread(target=_refresh, name="rayox-reservations", daemon=True).start()


def _refresh() -> None:
    end = time.monotonic() + REFRESH_SECONDS
    while time.monotonic() < end and attempt("fresh table of machines", _asked, True):
        time.sleep(EVERY_SECONDS)


def _asked() -> bool:
    """Whether Ray could be asked; if it does not answer in time, it may answer the next question."""
    try:
        coordinator = ray.get_actor(COORDINATOR, namespace=COORDINATOR)
    except ValueError:  # no elastic run
        return False
    ray.get(coordinator.get_reserved_resources.remote("rayox", recompute=True), timeout=ANSWER_SECONDS)
    return True
