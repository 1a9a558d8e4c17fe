"""The setting `storage`: what it may be, and what is said when the store refuses, before anything starts."""

import pytest

from rayox_model.core.errors import ConfigError
from rayox_platform.runs.home import BucketHome
from rayox_platform.runs.places import open_runs


def test_a_folder_a_bucket_and_nothing(bucket, bucket_door, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    assert str(open_runs(None).home("a")) == str(tmp_path / "state/runs/a")
    assert str(open_runs("there").home("a")) == str(tmp_path / "there/a")
    runs = open_runs("s3://bucket/runs/")
    assert str(runs.home("a")) == "s3://bucket/runs/a"
    assert runs.home("a").folder.is_relative_to(tmp_path / "state")
    assert runs.home("a").folder != open_runs("s3://bucket/other").home("a").folder
    assert runs.names() == []
    bucket.write("result.json", b"{}")
    assert runs.names() == ["mine"]
    assert not (tmp_path / "s3:").exists()


@pytest.mark.parametrize("storage", ["ftp://host/runs", "http://host", "azure://x/y"])
def test_another_scheme_is_refused(storage):
    with pytest.raises(ConfigError, match=f"storage: '{storage}' is not an address") as caught:
        open_runs(storage)
    assert "s3://bucket/prefix" in caught.value.hint


def test_an_address_without_a_bucket_is_refused():
    with pytest.raises(ConfigError, match="storage: 's3://' names no bucket"):
        open_runs("s3://")


def test_a_bucket_that_is_not_there_is_named(bucket_door):
    with pytest.raises(ConfigError, match=r"storage: s3://absent/runs cannot be read .*no such bucket") as caught:
        open_runs("s3://absent/runs")
    assert caught.value.exit_code == 2
    assert "make the bucket first" in caught.value.hint


@pytest.mark.slow
def test_a_store_that_refuses_names_the_setting(bucket_door):
    bucket_door.status = 403
    bucket_door.refused = lambda method, path: True
    with pytest.raises(ConfigError, match=r"storage: s3://bucket/runs cannot be read .*(403|ACCESS_DENIED)") as caught:
        open_runs("s3://bucket/runs")
    assert "credentials" in caught.value.hint


def test_no_credentials_at_all_are_told_from_a_network(bucket_door, monkeypatch, tmp_path):
    """As the store sees it: an unsigned request, which it refuses."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    bucket_door.status = 403
    bucket_door.refused = lambda method, path: True
    with pytest.raises(ConfigError, match=r"storage: s3://bucket/none") as caught:
        open_runs("s3://bucket/none")
    assert "credentials" in caught.value.hint


def test_a_store_that_does_not_answer(bucket_door, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="storage: s3://bucket/runs cannot be read") as caught:
        open_runs("s3://bucket/runs")
    assert "AWS_ENDPOINT_URL" in caught.value.hint


def test_a_read_only_bucket_is_refused_when_the_name_is_claimed(bucket, bucket_door, tmp_path):
    home = BucketHome(bucket, tmp_path / "mine")
    bucket_door.status = 403
    bucket_door.refused = lambda method, path: method in ("PUT", "POST", "DELETE")
    with pytest.raises(ConfigError, match=r"storage: s3://bucket/runs/mine cannot be written"), home.claim():
        pass
    assert not (tmp_path / "mine").exists()


@pytest.mark.slow
def test_what_the_driver_made_is_published_with_the_result_last(bucket, bucket_door, tmp_path):
    home = BucketHome(bucket, tmp_path / "mine")
    with home.claim():
        (home.folder / "predictions").mkdir()
        for name in ("model.onnx", "predictions/a.png", "result.json"):
            (home.folder / name).write_text(name)
        home.publish()
    written = [path for method, path in bucket_door.requests if method == "PUT" and "claims" not in path]
    assert written[-1].split("?")[0] == "/bucket/runs/mine/result.json"
    assert home.shared.files().keys() == {"model.onnx", "predictions/a.png", "result.json"}
    assert (home.folder / "model.onnx").exists(), "the driver's own copies stay"
