"""Whether the head of the connected cluster is still there, looked at beside whatever the driver does.

Ray's own client ends the process without a word once the head has been gone for a minute. Before that the main thread
gets a ClusterError, as it would get a KeyboardInterrupt: what it does can be ended in order, and told.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rayox_model.core.errors import ClusterError

LOOK_SECONDS, ANSWER_SECONDS = 2.0, 5.0
PATIENCE_VARIABLE, PATIENCE_SECONDS = "RAY_gcs_rpc_server_reconnect_timeout_s", 60.0  # Ray's own
SHARE = 0.7  # of Ray's patience; a head with its state in a store comes back within that
NOTICE = signal.SIGUSR2


@contextmanager
def head_watched(name: str, address: str) -> Iterator[None]:
    """Raise ClusterError in this block when nothing answers any more at the head's address; name is for people."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    patience = SHARE * float(os.environ.get(PATIENCE_VARIABLE, PATIENCE_SECONDS))

    def give_up(number: int, frame: object) -> None:
        raise ClusterError(
            f"the cluster at {name} is gone: its head has not answered for {patience:.0f} s",
            "start the cluster again, or name another one by --address",
        )

    over, lock = threading.Event(), threading.Lock()
    before = signal.signal(NOTICE, give_up)
    thread = threading.Thread(target=_look, args=(address, patience, over, lock), name="rayox-lookout", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with lock:  # the notice is given before this, or never
            over.set()
        signal.signal(NOTICE, before)


def _look(address: str, patience: float, over: threading.Event, lock: threading.Lock) -> None:
    heard = time.monotonic()
    while not over.wait(LOOK_SECONDS):
        if _answers(address):
            heard = time.monotonic()
        elif time.monotonic() - heard > patience:
            with lock:
                if not over.is_set():
                    signal.pthread_kill(threading.main_thread().ident or 0, NOTICE)
            return


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError:
        return False
    return True
