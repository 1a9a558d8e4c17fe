"""What ray.init does in private, as a verb needs it; a Ray that has moved it is left as it is, and that is said.

They buy the documented exit codes for a signal in the middle of Ray's start, which RAYOX_PLAIN_RAY=1 turns off, and a
local Ray that other machines cannot reach. That one stays with RAYOX_PLAIN_RAY=1: Ray has no public way to it, and
nobody who asks for a plain Ray asks to be reached by others. Neither is a matter of speed, so nothing is measured.
"""

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from types import ModuleType
from typing import Any

from rayox_model.core.plain_ray import is_plain

LOOPBACK = "127.0.0.1"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
STARTED_TOO_SLOWLY = (
    "timed out during startup"  # Ray's words for a node that is not up within 30 s, which cannot be set
)
START_TRIES = 3  # the first has read Ray's files from the disk


@contextmanager
def signals_kept() -> Iterator[None]:
    """Ray puts handlers of its own in place, which leave with another exit code or print a stack of C++ first."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with nullcontext() if is_plain() else _replaced("utils", "set_sigterm_handler", lambda handler: None):
            yield
    finally:
        if threading.current_thread() is threading.main_thread():  # the only one that may
            for number, handler in before.items():
                if handler is not None:  # put there anew even if it stands: Ray's C++ has one beneath it
                    signal.signal(number, handler)


@contextmanager
def loopback_allowed() -> Iterator[None]:
    """Ray takes this machine's address in its network for 127.0.0.1, and then listens on all of its interfaces.

    With the loopback address as it was given, all of Ray's processes listen on that alone.
    """
    with _replaced("services", "resolve_ip_for_localhost", lambda host: host):
        yield


@contextmanager
def on_loopback() -> Iterator[None]:
    """As a driver beside a cluster whose processes listen on loopback alone: it is at that address itself."""
    with loopback_allowed(), _replaced("services", "get_node_ip_address", _loopback):
        yield


def _loopback(address: object = None) -> str:
    return LOOPBACK


def only_on_loopback(address: str) -> bool:
    """Whether an address HOST:PORT is on loopback and nothing answers at that port where other machines would ask."""
    host, _, port = address.rpartition(":")
    if not (host == "localhost" or host.startswith("127.")) or not port.isdigit():
        return False
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks which address this machine would have
            own = probe.getsockname()[0]
        with socket.create_connection((own, int(port)), timeout=2):
            return False
    except OSError:
        return True


@contextmanager
def _replaced(module: str, name: str, function: Callable[[Any], Any]) -> Iterator[None]:
    place = _private(module)
    before = getattr(place, name, None)
    if before is None:
        logging.getLogger("rayox").warning("this version of Ray does without rayox's %s", name)
        yield
        return
    setattr(place, name, function)
    try:
        yield
    finally:
        setattr(place, name, before)


def _private(module: str) -> ModuleType | None:
    try:
        return import_module(f"ray._private.{module}")
    except ImportError:
        return None
