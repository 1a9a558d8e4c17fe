"""A cluster whose processes talk TLS, by the commands of cluster/README.md: nobody gets in without a certificate."""

import os
import re
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from another_shell import headers

from rayox_cluster.cluster_record import read_record
from rayox_cluster.jobs_api import JobsApi
from rayox_cluster.local_nodes import down
from rayox_cluster.preflight import Question, ask

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]

README = Path(__file__).parents[2] / "cluster" / "README.md"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    """(folder of the certificates, record) of two nodes."""
    folder = tmp_path_factory.mktemp("tls")
    (block,) = [one for one in re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL) if "RAY_USE_TLS" in one]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RAYOX_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    script = 'set -e\nrayox() { python -m rayox "$@" --cpus-per-node 1; }\n' + block
    try:
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=kept | {"PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        yield folder, read_record(folder / ".rayox")
    finally:
        down(folder / ".rayox")


def test_both_nodes_run_what_they_are_given(encrypted):
    _, record = encrypted
    nodes = ask(JobsApi(record.dashboard, headers(record)), Question(all_reduce=True)).nodes
    assert [node.error for node in nodes] == ["", ""]


def test_the_head_talks_to_holders_of_a_certificate_alone(encrypted):
    folder, record = encrypted
    host, _, port = record.address.rpartition(":")
    trusting = ssl.create_default_context(cafile=folder / "ca.crt")
    trusting.load_cert_chain(folder / "node.crt", folder / "node.key")
    assert refusal(trusting, host, int(port)) is None
    stranger = ssl.create_default_context(cafile=folder / "ca.crt")
    assert refusal(stranger, host, int(port)) is not None


def test_a_driver_with_the_certificate_gets_in(encrypted):
    folder, record = encrypted
    code = "import ray; ray.init(address='auto', logging_level='ERROR', log_to_driver=False); print(len(ray.nodes()))"
    own = {"RAY_ADDRESS": record.address, "RAY_gcs_server_request_timeout_seconds": "5", "RAY_USE_TLS": "1"}
    files = {"CA_CERT": "ca.crt", "SERVER_CERT": "node.crt", "SERVER_KEY": "node.key"}
    own |= {f"RAY_TLS_{name}": str(folder / file) for name, file in files.items()}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RAYOX_"))}
    connected = [sys.executable, "-c", code.replace("import ray;", LOOPBACK_DRIVER)]
    done = subprocess.run(
        connected, env=environment | record.access() | own, capture_output=True, text=True, check=False
    )
    assert done.stdout.split()[-1:] == ["2"], done.stderr


def test_a_verb_without_the_certificate_is_told_so(encrypted, tmp_path):
    _, record = encrypted
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RAYOX_"))}
    command = [sys.executable, "-m", "rayox", "train", "shapes", "--address", record.address]
    said = subprocess.run(
        command, env=environment | record.access(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode == 6, said.stderr
    assert f"the cluster at {record.address} talks TLS, and RAY_USE_TLS is not set here" in said.stderr


LOOPBACK_DRIVER = (
    "import ray; from ray._private import services; services.get_node_ip_address = lambda address=None: '127.0.0.1';"
)


def refusal(context: ssl.SSLContext, host: str, port: int) -> OSError | None:
    """What a handshake and a first answer end with; a server of TLS 1.3 refuses after the handshake."""
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, port), 10) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            if not tls.recv(100):
                return ConnectionAbortedError("it has hung up")
    except OSError as error:
        return error
    return None
