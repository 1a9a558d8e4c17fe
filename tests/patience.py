"""How long tests wait for what has to happen: as long as an idle machine needs, times how busy this one is.

RAYOX_TEST_PATIENCE sets the factor; else it is the machine's load for each of its cores, between 1 and 8. No test's
verdict is a time: a limit only ends one that would never end.
"""

import os
import time
from collections.abc import Callable

LARGEST = 8.0


def patience() -> float:
    given = os.environ.get("RAYOX_TEST_PATIENCE")
    if given:
        return float(given)
    return min(max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), LARGEST)


def patient(seconds: float) -> float:
    """Seconds of an idle machine as seconds of this one."""
    return seconds * patience()


def wait_until(condition: Callable[[], object], seconds: float = 60.0, what: str = "it never happened") -> None:
    """Look until a condition holds; the time is an idle machine's, and grows while this one gets busier."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < patient(seconds), what
        time.sleep(0.02)
