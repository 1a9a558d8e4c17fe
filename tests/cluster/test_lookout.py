"""A head that is gone is noticed while the driver waits for something else; one that comes back is none."""

import signal
import socket
import threading
import time

import pytest
from patience import patient, wait_until

from rayox_cluster import lookout
from rayox_cluster.lookout import NOTICE, PATIENCE_VARIABLE, SHARE, head_watched
from rayox_model.core.errors import ClusterError

pytestmark = pytest.mark.slow


@pytest.fixture
def head(monkeypatch):
    """Something that listens as a head does."""
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0), reuse_port=False) as server:
        yield server


def address_of(head):
    return f"127.0.0.1:{head.getsockname()[1]}"


def test_a_dead_head_ends_the_wait(head, monkeypatch):
    monkeypatch.setenv(PATIENCE_VARIABLE, "1")
    threading.Timer(0.5, head.close).start()
    with pytest.raises(ClusterError, match="the cluster at mine is gone"), head_watched("mine", address_of(head)):
        time.sleep(100)


def test_a_head_that_comes_back_in_time_is_no_fault(head, monkeypatch):
    """Away for a moment, back for longer than the wait, away again: each absence counts from when it was last heard."""
    wait = patient(3.0)
    monkeypatch.setenv(PATIENCE_VARIABLE, str(wait / SHARE))
    address = address_of(head)
    with head_watched("mine", address):
        head.close()
        time.sleep(0.5)
        with socket.create_server(("127.0.0.1", int(address.split(":")[1]))) as back:
            back.settimeout(patient(10.0))
            returned = time.monotonic()
            while time.monotonic() < returned + wait:
                back.accept()[0].close()  # raises where nobody looks any more
        time.sleep(0.5)
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "rayox-lookout"])


def test_nothing_is_noticed_after_the_block(head, monkeypatch):
    monkeypatch.setenv(PATIENCE_VARIABLE, "0.2")
    before = signal.getsignal(NOTICE)
    with head_watched("mine", address_of(head)):
        time.sleep(0.2)
    head.close()
    time.sleep(1.0)
    assert signal.getsignal(NOTICE) == before
