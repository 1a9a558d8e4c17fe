"""Time limits of tests grow with the load, within bounds, and a given factor is kept to."""

import os
from pathlib import Path

import pytest
from patience import LARGEST, patience, patient, wait_until
from pytest_timeout import Settings


@pytest.mark.parametrize(("load", "factor"), [(0.0, 1.0), (1.0, 1.0), (3.0, 3.0), (500.0, LARGEST)])
def test_the_factor_is_the_load_of_each_core(monkeypatch, load, factor):
    monkeypatch.delenv("RAYOX_TEST_PATIENCE", raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (load * (os.cpu_count() or 1), 0.0, 0.0))
    assert patience() == pytest.approx(factor)
    assert patient(20) == pytest.approx(20 * factor)


def test_a_given_factor_is_kept_to(monkeypatch):
    monkeypatch.setenv("RAYOX_TEST_PATIENCE", "12.5")
    assert patient(2) == 25


def test_a_wait_ends_with_what_never_happened(monkeypatch):
    monkeypatch.setenv("RAYOX_TEST_PATIENCE", "1")
    wait_until(lambda: True, seconds=0.0)
    with pytest.raises(AssertionError, match="no file came"):
        wait_until(lambda: False, seconds=0.05, what="no file came")


def test_a_tests_own_limit_grows_too(monkeypatch, request):
    conftest = request.config.pluginmanager.get_plugin(str(Path(__file__).parent / "conftest.py"))
    given = []
    monkeypatch.setenv("RAYOX_TEST_PATIENCE", "3")
    monkeypatch.setattr(conftest, "plain_timer", lambda item, settings: given.append(settings.timeout))
    conftest.pytest_timeout_set_timer(request.node, Settings(100.0, "signal", False, False))
    assert given == [300.0]
