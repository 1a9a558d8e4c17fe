"""Which cluster a verb runs on, by its option and the environment; and where a Ray job may not keep a run."""

from pathlib import Path

import pytest

from rayox_cluster.address import JOB_VARIABLE, cluster_address, is_ray_job
from rayox_model.core.errors import ClusterError


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in ("RAY_ADDRESS", "RAYOX_ADDRESS", JOB_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_the_address_is_the_given_one_then_that_of_ray_then_this_machine(monkeypatch):
    assert cluster_address(None).text is None
    assert str(cluster_address(None)) == "this machine"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert str(cluster_address(None)) == "10.0.0.1:6379 (RAY_ADDRESS)"
    assert str(cluster_address("10.0.0.2:6379")) == "10.0.0.2:6379"
    assert cluster_address("local").text is None
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert cluster_address(None).text == "auto"


def test_a_job_joins_its_cluster_and_starts_no_second_ray(monkeypatch):
    assert not is_ray_job()
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv(JOB_VARIABLE, "{}")
    assert cluster_address(None).text == "10.0.0.1:6379"
    with pytest.raises(ClusterError, match="no second Ray can be started"):
        cluster_address("local")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "said", "advice"),
    [
        ("http://head:8265", "the address of a dashboard", "head:6379"),
        ("https://user:secret@head", "the address of a dashboard", "head:6379"),
        ("ray://head:10001", "an address of Ray Client", "head:6379"),
        ("redis://head:6379", "not an address of a Ray cluster", "HOST:PORT"),
    ],
)
def test_an_address_of_another_kind_is_told_from_a_cluster_that_is_away(
    rayox, data, monkeypatch, address, said, advice
):
    given = rayox("train", "scratch", *data, "image_size=64", "--address", address, "--json")
    assert given.exit_code == 6
    error = given.result["error"]
    assert error["message"].startswith("--address: ")
    assert "secret" not in error["message"]
    assert said in error["message"]
    assert advice in error["hint"]
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ClusterError, match=r"^RAY_ADDRESS: "):
        cluster_address(None)


@pytest.fixture
def copy(rayox, tmp_path, monkeypatch) -> Path:
    """The working folder of a Ray job, which is the present one."""
    copy = tmp_path / "session" / "runtime_resources" / "working_dir_files" / "_ray_pkg_1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def data(toy_data) -> list[str]:
    """The settings that name the toy data."""
    data = [f"data.{split}.annotations={toy_data}/{split}.json" for split in ("train", "val")]
    return data + [f"data.{split}.images={toy_data}/images" for split in ("train", "val")]


def test_a_run_is_not_kept_in_what_a_job_throws_away(rayox, data, copy, tmp_path, monkeypatch):
    words = ["train", "scratch", *data, "image_size=64", "--dry-run", "--json"]
    refused = rayox(*words)
    assert refused.exit_code == 2
    assert f"storage: {copy}/.rayox/runs is this Ray job's own copy" in refused.result["error"]["message"]
    assert "set storage=" in refused.result["error"]["hint"]
    half = rayox(*words, f"storage={tmp_path}/runs")
    assert half.exit_code == 2
    assert "RAYOX_STATE: MLflow's store would be in" in half.result["error"]["message"]
    assert rayox(*words, f"storage={tmp_path}/runs", f"tracking.uri=sqlite:///{tmp_path}/m.db").exit_code == 0
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    assert rayox(*words).exit_code == 0


def test_a_campaign_is_not_kept_in_what_a_job_throws_away(rayox, data, copy, tmp_path):
    words = ["tune", "simota", *data, "image_size=64", "--json"]
    refused = rayox(*words)
    assert refused.exit_code == 2
    assert f"storage: {copy}/.rayox/runs is this Ray job's own copy" in refused.result["error"]["message"]
    half = rayox(*words, f"storage={tmp_path}/runs")
    assert half.exit_code == 2
    assert "RAYOX_STATE: MLflow's store would be in" in half.result["error"]["message"]
    assert not any(copy.iterdir())
    assert not (tmp_path / "runs").exists()
