"""One local Ray cluster for all tests here: starting one takes longer than most of them."""

import pytest

from rayox_cluster.local import ray_session


@pytest.fixture(scope="session")
def cluster():
    with ray_session(None, num_cpus=2, worker_environment={"OMP_NUM_THREADS": "1"}):
        yield
