"""Machines that lack something are named before a run starts: three real raylets, of which one is another's."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
from object_store import make_bucket, moto_store, point_to
from small_cluster import three_nodes
from tune_toys import CONFIG, campaign

from rayox_model.core.errors import ClusterError, ConfigError, DataError
from rayox_platform.data.resolve import resolve_split
from rayox_platform.runs.home import BucketHome, FolderHome
from rayox_platform.storage.bucket import Bucket
from rayox_platform.train.probe import check_machines
from rayox_platform.tune.campaign_home import campaign_home
from rayox_platform.tune.driver import Driver
from rayox_platform.tune.opening import Call, Data, open_ledger, read_data, trial_config
from rayox_platform.tune.running import run_campaign

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(400)]
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


@contextmanager
def a_fourth(**environment: str) -> Iterator[str]:
    """Three nodes, and the id of one more, whose processes have these variables."""
    with three_nodes(**NODE) as cluster:
        yield cluster.add_node(**NODE, env_vars=environment).node_id


@pytest.fixture
def images(toy_data, tmp_path):
    return {"train": resolve_split(str(toy_data / "train.json"), str(toy_data / "images"), tmp_path)[1]}


@pytest.fixture
def another_rayox(tmp_path) -> dict[str, str]:
    """Variables of a node whose rayox is of another version."""
    facts = tmp_path / "site" / "rayox-0.0.9.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: rayox\nVersion: 0.0.9\n")
    return {"PYTHONPATH": str(tmp_path / "site")}


def home_in(folder: Path) -> FolderHome:
    (folder / "run").mkdir(exist_ok=True)
    return FolderHome(folder / "run")


def begun(folder: Path) -> tuple[Driver, Data]:
    """A campaign on the toy data that has trained nothing yet."""
    split = {"images": f"{folder}/images"}
    sections = {name: split | {"annotations": f"{folder}/{name}.json"} for name in ("train", "val")}
    config = CONFIG.model_copy(update={"data": CONFIG.data.model_validate(sections)})
    home, data = campaign_home(None, "mine"), read_data(config)
    base = trial_config(campaign(), config, home.storage)
    return Driver(open_ledger(home, campaign(), base, data, Call()), base, home), data


def test_machines_that_have_all_are_let_by_and_nothing_stays(images, tmp_path):
    with three_nodes(**NODE):
        check_machines(home_in(tmp_path).shared, images)
    assert list((tmp_path / "run").iterdir()) == []


def test_another_rayox_is_named_with_its_machine(images, tmp_path, another_rayox):
    with (
        a_fourth(**another_rayox) as node,
        pytest.raises(ClusterError, match=r"it has rayox 0\.0\.9, this machine has") as caught,
    ):
        check_machines(home_in(tmp_path).shared, images)
    assert node[:8] in caught.value.message
    assert len(caught.value.message.splitlines()) == 1


def test_a_campaign_names_it_before_its_first_trial(toy_data, tmp_path, another_rayox, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    driver, data = begun(toy_data)
    with (
        a_fourth(**another_rayox) as node,
        pytest.raises(ClusterError, match=r"it has rayox 0\.0\.9, this machine has") as caught,
    ):
        run_campaign(driver, data, lambda text: None)
    assert node[:8] in caught.value.message
    assert driver.state.trials == []
    assert sorted(driver.home.shared.files()) == [
        "fingerprint.json",
        "ledger.jsonl",
        "val-confirm.json",
        "val-search.json",
    ]


def test_keys_that_one_machine_has_not_got(images, tmp_path, toy_data, monkeypatch):
    with moto_store() as address:
        make_bucket(address)
        point_to(monkeypatch, address)
        bucket = Bucket("s3", "bucket/runs/mine")
        home = BucketHome(bucket, tmp_path / "run")
        shutil.copytree(toy_data, tmp_path / "data")
        for path in (toy_data / "images").iterdir():
            Bucket("s3", "bucket/images").put(path, path.name)
        far = {"train": resolve_split(str(toy_data / "train.json"), "s3://bucket/images", tmp_path)[1]}
        with a_fourth(AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_ENDPOINT_URL_S3="http://127.0.0.1:9") as node:
            with pytest.raises(ConfigError, match="storage: ") as storage:
                check_machines(home.shared, images)
            with pytest.raises(DataError, match=r"data\.train\.images: ") as data:
                check_machines(home_in(tmp_path).shared, far)
            assert ray.is_initialized()
        left = bucket.files()
    for error in (storage.value, data.value):
        assert node[:8] in error.message
        assert len(error.message.splitlines()) == 1
    assert "credentials" in storage.value.hint
    assert left == {}
