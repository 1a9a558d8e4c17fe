"""Ray's table of who has which machine, looked at anew: it is up to 20 s old, and names machines that are gone.

An elastic run asks it after a failure how many workers fit; with the old answer Ray waits for the lost machine until
its own time-out, and only then asks again.
"""

import time
from threading import Thread

import ray
from ray.exceptions import RayError

COORDINATOR = "AutoscalingCoordinator"  # the actor's name and its namespace
REFRESH_SECONDS, EVERY_SECONDS = 40.0, 1.0


def refresh_for_a_while() -> None:
    """Every second until the cluster has noticed what is gone; returns at once."""
    Thread(target=_refresh, name="rayox-reservations", daemon=True).start()


def _refresh() -> None:
    end = time.monotonic() + REFRESH_SECONDS
    while time.monotonic() < end:
        try:
            coordinator = ray.get_actor(COORDINATOR, namespace=COORDINATOR)
            ray.get(coordinator.get_reserved_resources.remote("rayox", recompute=True), timeout=5)
        except (ValueError, RayError, TypeError):  # no elastic run, no such actor, or another Ray: its own pace then
            return
        time.sleep(EVERY_SECONDS)
