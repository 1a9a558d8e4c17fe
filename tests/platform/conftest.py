"""An empty bucket for what is written to it, behind a real interface of S3 or of Google's store; images to check."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from object_store import Door, empty_google, google_store, make_bucket, moto_store, point_to
from spoiled_coco import write_images

from rayox.cli import main
from rayox_platform.data.check.checker import CheckSettings
from rayox_platform.data.check.files import ImageFolder
from rayox_platform.storage import retry
from rayox_platform.storage.bucket import Bucket

if TYPE_CHECKING:
    from rayox_platform.tune.driver import Driver


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[str]:
    with moto_store() as address:
        yield address


@pytest.fixture(scope="session")
def google_server() -> Iterator[str]:
    with google_store() as address:
        yield address


@pytest.fixture
def no_cache(monkeypatch, tmp_path) -> Iterator[None]:
    """This machine has no cache yet, and waits are short."""
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    yield
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture
def bucket_door(bucket_server, no_cache, monkeypatch) -> Iterator[Door]:
    """What rayox goes through to an empty store."""
    make_bucket(bucket_server)
    door = Door(bucket_server)
    point_to(monkeypatch, door.address)
    yield door
    door.close()


@pytest.fixture
def google(google_server, no_cache, monkeypatch) -> None:
    """An empty bucket of Google's."""
    empty_google(google_server)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", google_server)


@pytest.fixture
def bucket(request) -> Bucket:
    request.getfixturevalue("google" if request.param == "gs" else "bucket_door")
    return Bucket(request.param, "bucket/runs/mine")


def pytest_generate_tests(metafunc):
    if "bucket" in metafunc.fixturenames:
        both = metafunc.definition.get_closest_marker("stores")
        metafunc.parametrize("bucket", ["s3", "gs"] if both else ["s3"], indirect=True)


@pytest.fixture
def rayox_check(capsys, monkeypatch, tmp_path) -> Callable[..., str]:
    """`rayox data check` in an empty folder: its standard output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main(["data", "check", *map(str, arguments)]) in (0, 3)
        return capsys.readouterr().out

    return run


@pytest.fixture
def begin(tmp_path, monkeypatch) -> "Callable[..., Driver]":
    """The driver of a campaign that begins with these settings, or goes on, without Ray."""
    from tune_drive import begun

    from rayox_platform.tune.campaign_home import campaign_home

    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    home = campaign_home(None, "campaign")
    return lambda *settings: begun(home, *settings)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """The files of spoiled_coco's clean data set."""
    folder = tmp_path_factory.mktemp("check") / "images"
    write_images(folder)
    return folder


@pytest.fixture
def check_settings(pictures) -> CheckSettings:
    return CheckSettings(folder=ImageFolder(str(pictures)))
