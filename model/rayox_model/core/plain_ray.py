"""RAYOX_PLAIN_RAY=1: rayox keeps to Ray's public interface. The packages that talk to Ray share no other place."""

import os

PLAIN = "RAYOX_PLAIN_RAY"


def is_plain() -> bool:
    """Whether private parts of Ray are to be left alone."""
    return os.environ.get(PLAIN, "0") not in ("", "0")
