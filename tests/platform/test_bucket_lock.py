"""One driver at a time has a run in a bucket, whatever machine it is on."""

import os
import signal
import subprocess
import sys

import pytest
from patience import wait_until

from rayox_model.core.errors import ConfigError
from rayox_platform.runs import bucket_lock as bucket_claim
from rayox_platform.runs.bucket_lock import claimed_in_bucket

pytestmark = pytest.mark.slow

HOLD = """
import sys
from rayox_platform.storage.bucket import Bucket
from rayox_platform.runs.bucket_lock import claimed_in_bucket

with claimed_in_bucket("mine", Bucket(*sys.argv[1:])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def claims(bucket):
    return bucket.under("claims")


@pytest.fixture
def first(claims):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, claims.scheme, claims.prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.stores
def test_a_second_driver_is_told_who_has_it_until_it_is_given_back(claims, first):
    words = rf"run mine in bucket/runs/mine is being trained by process {first.pid} on .*, which was heard of \d+ s ago"
    with pytest.raises(ConfigError, match=words), claimed_in_bucket("mine", claims):
        pass
    assert len(claims.files()) == 1, "the refused one leaves nothing"
    first.communicate()
    with claimed_in_bucket("mine", claims):
        assert len(claims.files()) == 1
    assert claims.files() == {}


@pytest.mark.stores
def test_a_driver_that_died_is_passed_over_when_its_claim_is_old(claims, first, monkeypatch):
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    with pytest.raises(ConfigError, match="is being trained by"), claimed_in_bucket("mine", claims):
        pass
    monkeypatch.setattr(bucket_claim, "STALE_SECONDS", -10.0)
    with claimed_in_bucket("mine", claims):
        assert len(claims.files()) == 1, "the dead one's is removed"


def test_a_claim_is_renewed_also_after_the_store_has_refused(claims, monkeypatch, bucket_door):
    monkeypatch.setattr(bucket_claim, "RENEW_SECONDS", 0.05)

    def written():
        return claims.stamps()[name].modified_ns

    with claimed_in_bucket("mine", claims):
        (name,) = claims.files()
        begun = written()
        wait_until(lambda: written() > begun)
        refused = []
        bucket_door.refused = lambda method, path: method == "PUT" and not refused.append(path)
        wait_until(lambda: len(refused) >= 2)  # it has tried again after a refusal
        bucket_door.refused = lambda method, path: False
        begun = written()
        wait_until(lambda: written() > begun)
