"""What stands between this machine and a cluster, each with what to do: addresses, tokens, versions, an absent head."""

import json
import socket
import threading
import time
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from patience import patient
from toy_dashboard import ToyDashboard

from rayox.cli import main
from rayox.submit import attempts, require_ray
from rayox_cluster import jobs_api
from rayox_cluster.access import auth_headers, find_cluster, is_beyond_loopback, named_dashboard, token
from rayox_cluster.jobs_api import Job, JobsApi, UnreachableError
from rayox_cluster.versions import oldest_python, python_range, ray_range
from rayox_model.core.errors import ClusterError, ConfigError


@pytest.fixture(autouse=True)
def _no_token(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def serving():
    """Start a dashboard that answers every request with a status and a body; its address."""
    servers = []

    def serve(status: int, body: object) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *words: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def silent():
    """The address of something that listens and speaks no HTTP, as Ray's own port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stop = threading.Event()

        def hang_up() -> None:
            listening.settimeout(0.2)
            while not stop.is_set():
                try:
                    listening.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=hang_up)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        stop.set()
        thread.join()


def test_another_ray_is_told_before_anything_is_sent(serving):
    with pytest.raises(ClusterError, match=r"has Ray 2\.40\.0, and this rayox works with Ray >=2\.55\.1,<3") as error:
        require_ray(JobsApi(serving(200, {"ray_version": "2.40.0"})))
    assert 'pip install "ray[default]>=2.55.1,<3"' in error.value.hint
    with pytest.raises(ClusterError, match="has Ray unknown"):
        require_ray(JobsApi(serving(200, {"ray_version": "unknown"})))


@pytest.mark.parametrize("theirs", ["2.55.1", "2.58.0", "2.60.7", "2.61.0.dev0"])
def test_the_cluster_may_have_any_ray_that_the_package_allows(serving, theirs):
    """Also another than this machine's: nothing of Ray's own protocol is spoken from here."""
    require_ray(JobsApi(serving(200, {"ray_version": theirs})))


def test_the_ranges_are_those_of_the_package():
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (ray,) = [one for one in pyproject["dependencies"] if one.startswith("ray[")]
    assert ray.endswith(ray_range())
    assert python_range() == pyproject["requires-python"]
    assert oldest_python() == (3, 11)


@pytest.mark.parametrize(("status", "said"), [(401, "none was given"), (403, "does not take this token")])
def test_a_token_that_lacks_or_is_wrong(serving, status, said):
    with pytest.raises(ClusterError, match=said) as error:
        JobsApi(serving(status, {})).jobs()
    assert "RAY_AUTH_TOKEN_PATH" in error.value.hint


def test_another_service_at_the_address(serving):
    with pytest.raises(ClusterError, match=r"has refused GET /api/jobs/ \(404\)") as error:
        JobsApi(serving(404, {"detail": "not found"})).jobs()
    assert "not another service" in error.value.hint
    with pytest.raises(ClusterError, match="does not tell its version of Ray") as error:
        JobsApi(serving(200, ["a page"])).ray_version()
    assert "not another service" in error.value.hint


@pytest.mark.parametrize("body", ["a page", ["a page"], {"page": 1}, [{"submission_id": "a"}]])
def test_an_answer_of_another_shape_is_said_to_be_one(serving, body):
    """A proxy's page of its own, or another program at the port."""
    api = JobsApi(serving(200, body))
    for ask in (api.jobs, lambda: api.find("mine")):
        with pytest.raises(ClusterError, match="does not answer as Ray's dashboard does") as error:
            ask()
        assert "not another service" in error.value.hint


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_dashboard_without_its_head_and_a_proxy_without_either_may_be_back(serving, status):
    """Ray's dashboard answers so for a while after its GCS has died; what follows a run waits then."""
    with pytest.raises(UnreachableError, match=rf"cannot tell now \({status}\)") as error:
        JobsApi(serving(status, "Traceback of Ray's")).find("mine")
    assert "try again in a minute" in error.value.hint


def test_what_ray_itself_refuses_is_not_taken_for_another_service():
    with ToyDashboard() as dashboard, pytest.raises(ClusterError, match=r"has refused GET /api/packages") as error:
        JobsApi(dashboard.url, {})._json("GET", "/api/packages/gcs/absent.zip")
    assert "another service" not in error.value.hint
    assert dashboard.url in error.value.hint


def test_a_head_that_is_away_is_an_error_that_can_pass():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UnreachableError, match="no Ray dashboard answers"):
        JobsApi(f"http://127.0.0.1:{port}").jobs()


@pytest.mark.slow
def test_a_head_that_takes_a_connection_and_says_nothing_is_away_within_seconds(monkeypatch):
    """Its state is asked for again and again, by what promises to say that it is away after some seconds."""
    monkeypatch.setattr(jobs_api, "STATE_SECONDS", 0.3)
    began = time.monotonic()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UnreachableError, match="no answer in time"),
    ):
        JobsApi(f"http://127.0.0.1:{taken.getsockname()[1]}", {}).find("mine")
    assert time.monotonic() - began < patient(5)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://head:10001", "the address of a Ray client"),
        ("ftp://head", "is not a cluster address"),
        ("http://bob:hush@head:8265", "has a user or password in it"),
    ],
)
def test_an_address_that_takes_no_jobs(address, said, tmp_path):
    with pytest.raises(ClusterError, match=said) as error:
        find_cluster(address, tmp_path)
    assert "hush" not in error.value.message + error.value.hint


@pytest.mark.slow
def test_rays_own_port_is_told_from_the_dashboards(silent, serving, tmp_path):
    with pytest.raises(ClusterError, match="is Ray's own port, not its dashboard's"):
        find_cluster(silent, tmp_path)
    dashboard = serving(200, {"ray_version": "2.60.0"})
    assert find_cluster(dashboard.removeprefix("http://"), tmp_path) == (dashboard, None)


def test_without_a_cluster_it_says_what_to_do(tmp_path):
    with pytest.raises(ClusterError, match="none is up here") as error:
        find_cluster(None, tmp_path)
    assert "rayox cluster up" in error.value.hint


@pytest.mark.slow
def test_the_dashboard_of_ray_address_is_the_default(serving, tmp_path, monkeypatch, capsys):
    """As of `ray job submit`."""
    assert named_dashboard(None) is None
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert named_dashboard(None) is None
    dashboard = serving(200, {"ray_version": "2.40.0"})
    monkeypatch.setenv("RAY_ADDRESS", dashboard)
    assert named_dashboard("http://other:8265") == "http://other:8265"
    monkeypatch.chdir(tmp_path)
    words = ["train", "shapes", "storage=s3://bucket/runs", "tracking.uri=http://mlflow"]
    for verb in (["submit", "--", *words], ["doctor"]):
        assert main([*verb]) == 6
        said = capsys.readouterr()
        assert f"the cluster at {dashboard} has Ray 2.40.0" in said.out + said.err


@pytest.mark.slow
def test_rays_own_port_in_ray_address_is_not_passed_over(silent, tmp_path, monkeypatch, capsys):
    """Another cluster, as that of `cluster up` here, would get the job."""
    monkeypatch.chdir(tmp_path)
    words = ["--", "train", "shapes", "storage=s3://bucket/runs", "tracking.uri=http://mlflow"]
    for variable, said in ((silent, f"RAY_ADDRESS: {silent} is Ray's own port"), ("auto", "RAY_ADDRESS: auto is for")):
        monkeypatch.setenv("RAY_ADDRESS", variable)
        assert main(["submit", *words]) == 6
        told = capsys.readouterr().err
        assert said in told
        assert "give the dashboard's" in told
    assert named_dashboard("http://head:8265") == "http://head:8265"


def test_the_token_is_where_ray_looks_for_it(tmp_path, monkeypatch):
    assert token() is None
    assert auth_headers() == {}
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of home\n")
    assert token() == "of home"
    (tmp_path / "given").write_text("of the file")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "given"))
    assert auth_headers() == {"Authorization": "Bearer of the file"}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of the variable")
    assert token() == "of the variable"
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="RAY_AUTH_TOKEN_PATH"):
        token()


def test_loopback_is_told_from_what_others_reach():
    assert not any(is_beyond_loopback(url) for url in ("http://127.0.0.1:8265", "localhost:1", "http://[::1]:8265"))
    assert all(is_beyond_loopback(url) for url in ("http://10.0.0.1:8265", "head:8265", "0.0.0.0:8265"))


def test_attempts_of_one_work_are_in_their_order_and_nobody_elses():
    names = ["rayox-train-ab", "rayox-train-ab-10", "rayox-train-ab-2", "rayox-train-abc", "rayox-train-ab-x", "other"]
    jobs = [Job(name, "FAILED", "", {}, 0, 0, "", "", None) for name in names]
    found = [job.submission_id for job in attempts(jobs, "rayox-train-ab")]
    assert found == ["rayox-train-ab", "rayox-train-ab-2", "rayox-train-ab-10"]
