"""A signal that comes while Python is in a finalizer, where no exception can be raised: the verb ends all the same."""

import subprocess
import sys

import pytest

# The signal is handled inside the finalizer: a KeyboardInterrupt there is printed and forgotten.
IN_A_FINALIZER = """
import os, signal, sys, time, weakref
from rayox.process.interrupts import interrupts_kept

class Thing:
    pass

def gone(reference):
    os.kill(os.getpid(), signal.{name})
    time.sleep(0.01)

with interrupts_kept():
    thing = Thing()
    reference = weakref.ref(thing, gone)
    del thing
    try:
        time.sleep(60)
        print("slept on")
    except KeyboardInterrupt:
        print("interrupted")
"""
A_FAULT = """
from rayox.process.interrupts import interrupts_kept

class Thing:
    def __del__(self):
        raise ValueError("a fault of a finalizer")

with interrupts_kept():
    Thing()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_in_a_finalizer_is_not_lost(name):
    ended = subprocess.run(
        [sys.executable, "-c", IN_A_FINALIZER.format(name=name)], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "interrupted\n"
    assert ended.stderr == ""


def test_other_exceptions_there_are_still_printed():
    ended = subprocess.run([sys.executable, "-c", A_FAULT], capture_output=True, text=True, check=True)
    assert "ValueError: a fault of a finalizer" in ended.stderr
