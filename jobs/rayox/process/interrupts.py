"""A signal that ends a verb ends it wherever Python was when it came."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

AGAIN_SECONDS = 0.05  # by then a finalizer has ended, and a signal is seen by what it was meant for
Unraisable = Callable[["sys.UnraisableHookArgs"], object]


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """SIGTERM is a KeyboardInterrupt as Ctrl-C is, and neither is lost in a finalizer or a callback.

    Python cannot raise there (`__del__`, weak references, callbacks from C): it prints the exception and continues,
    and a training that was to end would train to its end. The signal is sent again a moment later.
    """
    _end_like_ctrl_c(signal.SIGTERM)
    before = sys.unraisablehook
    sys.unraisablehook = _sent_again(before)
    try:
        yield
    finally:
        sys.unraisablehook = before


def _end_like_ctrl_c(number: int) -> None:
    """A scheduler that ends the process gets the same orderly end as a user at the keyboard."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(number, interrupt)


def _sent_again(otherwise: Unraisable) -> Unraisable:
    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            otherwise(unraisable)
            return
        # SIGTERM, whichever it was: a shell's background jobs ignore SIGINT.
        timer = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
        timer.daemon = True
        timer.start()

    return hook
