"""Where a local cluster's dashboard listens: on loopback unless asked, elsewhere only with a token."""

import platform
import socket
from pathlib import Path

import psutil
import pytest
import requests
from another_shell import headers

from rayox_cluster.dashboard_address import LOOPBACK_ALONE, DashboardAddress, free_address
from rayox_cluster.jobs_api import JobsApi
from rayox_cluster.local_nodes import down, up
from rayox_cluster.processes import marked
from rayox_model.core.errors import ClusterError, ConfigError

BEYOND = DashboardAddress("0.0.0.0")


def test_it_is_loopback_alone_unless_asked(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    found = free_address(LOOPBACK_ALONE)
    assert not found.is_open
    assert found.here == found.elsewhere == f"http://127.0.0.1:{found.port}"
    assert found.port


def test_all_addresses_are_loopback_here_and_this_machine_s_name_elsewhere():
    found = free_address(BEYOND)
    assert found.is_open
    assert found.here == f"http://127.0.0.1:{found.port}"
    assert found.elsewhere == f"http://{platform.node()}:{found.port}"


def test_an_address_of_six_has_brackets():
    assert DashboardAddress("::1", 5).here == "http://[::1]:5"
    assert not DashboardAddress("::1").is_open
    assert DashboardAddress("::", 5).here == "http://127.0.0.1:5"
    assert DashboardAddress("::").is_open


def test_beyond_loopback_without_a_token_is_refused_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ConfigError, match=r"--dashboard-host 0\.0\.0\.0: .*without a token") as error:
        up(tmp_path, 1, 1, lambda text: None, dashboard=BEYOND)
    assert "unset RAY_AUTH_MODE" in error.value.hint
    assert not (tmp_path / "cluster" / "cluster.json").exists()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_refused(host):
    with pytest.raises(ConfigError, match=rf"--dashboard-host {host}: this machine does not have .* \([\w ]+\)$"):
        free_address(DashboardAddress(host))


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = rf"--dashboard-port {port}: nothing can listen there on 127\.0\.0\.1 \([\w ]+\)$"
        with pytest.raises(ConfigError, match=said):
            free_address(DashboardAddress(port=port))


@pytest.mark.ray
@pytest.mark.faults
@pytest.mark.timeout(600)
def test_of_a_cluster_its_dashboard_alone_is_reached_from_elsewhere_and_wants_the_token(tmp_path):
    """Asked at this machine's address in its network, as other machines would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        own = probe.getsockname()[0]
    record = up(tmp_path, 1, 1, lambda text: None, dashboard=BEYOND)
    try:
        port = int(record.dashboard.rpartition(":")[2])
        open_ports = {
            connection.laddr.port
            for process in marked(record.mark)
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
            and connection.laddr.ip.removeprefix("::ffff:") not in ("127.0.0.1", "::1")
        }
        assert open_ports == {port}
        url = f"http://{own}:{port}"
        assert requests.get(f"{url}/api/jobs/", timeout=10).status_code in (401, 403)
        with pytest.raises(ClusterError, match="wants a token"):
            JobsApi(url, {}).jobs()
        assert JobsApi(url, headers(record)).jobs() == []
    finally:
        down(tmp_path)
    assert not Path(record.temp_folder).exists()
