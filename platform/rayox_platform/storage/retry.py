"""Trying again what an object store may refuse for a moment: 5 attempts, 0.2, 0.4, 0.8 and 1.6 seconds apart.

The waits are drawn up to a quarter longer, so that many workers do not come back at once.
"""

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.2  # doubled after each further failure

_FOR_GOOD = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|NO_SUCH_KEY|INVALID_ACCESS_KEY_ID|SIGNATURE|UNRECOGNIZED_CLIENT|MISSING_AUTH"
    r"|HTTP status 4(?!08|29)\d\d|PERMISSION_DENIED|UNAUTHENTICATED|INVALID_ARGUMENT"
    r"|Retry policy exhausted"
)  # in the words of Arrow's filesystems, which try again by themselves on Google's store; else it may soon be over

T = TypeVar("T")


def retried(work: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Do it until it works, at most ATTEMPTS times. Raises the last OSError; one that will not pass, at once."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return work()
        except OSError as error:
            if is_for_good(error):
                raise
        sleep(FIRST_WAIT_SECONDS * 2**attempt * random.uniform(1.0, 1.25))
    return work()


def is_for_good(error: OSError) -> bool:
    return isinstance(error, FileNotFoundError | PermissionError) or bool(_FOR_GOOD.search(str(error)))
