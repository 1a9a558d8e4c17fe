"""A verb as a job: what it is resolved to, and what of it cannot be sent to a cluster."""

import json

import pytest
import yaml

from rayox.config import load_recipe
from rayox.submission.job_places import places_of
from rayox.submission.resolved import resolve
from rayox_cluster.cluster_record import ClusterRecord
from rayox_model.core.errors import ConfigError, DataError

PLACES = ("storage=s3://runs/here", "tracking.uri=http://mlflow:5000")
SPACE = "space:\n  train.momentum: {float: [0.8, 0.95]}\n"
DATA = [f"data.{split}.{what}=/data/{split}/{what}" for split in ("train", "val") for what in ("annotations", "images")]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch, tmp_path):
    for name in ("MLFLOW_TRACKING_URI", "RAYOX_STATE", "RAYOX_ADDRESS", "RAYOX_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_same_work_has_the_same_id_and_other_work_another():
    words = ["train", "scratch", *DATA, *PLACES]
    first, again = resolve(words, None), resolve(words, None)
    assert first.submission_id == again.submission_id
    assert first.files("x") == again.files("x")
    assert resolve([*words, "train.epochs=40"], None).submission_id != first.submission_id
    assert resolve([*words, "--name", "other"], None).submission_id != first.submission_id
    assert first.name == f"scratch-{first.digest[:8]}"


def test_the_recipe_that_is_sent_has_every_setting():
    resolved = resolve(["train", "scratch", *DATA, *PLACES, "--name", "mine", "train.epochs=40"], None)
    files = resolved.files("rayox-train-1")
    recipe = yaml.safe_load(files["recipe.yaml"])
    assert recipe["name"] == resolved.name == "mine"
    assert recipe["train"]["epochs"] == 40
    assert recipe["data"]["val"]["images"] == "/data/val/images"
    assert json.loads(files["job.json"])["submission_id"] == "rayox-train-1"
    assert set(resolved.paths) == {word.partition("=")[2] for word in DATA}


@pytest.mark.parametrize("way", ["option", "word", "file", "variable"])
def test_a_run_has_the_name_that_train_would_give_it(tmp_path, monkeypatch, way):
    (tmp_path / "toy.yaml").write_text("extends: shapes\n" + ("name: mine\n" if way == "file" else ""))
    words = {"option": ["--name", "mine"], "word": ["name=mine"]}.get(way, [])
    if way == "variable":
        monkeypatch.setenv("RAYOX_NAME", "mine")
    resolved = resolve(["train", "toy.yaml", *words, *PLACES], None)
    assert resolved.name == resolved.task.run == yaml.safe_load(resolved.recipe)["name"] == "mine"
    monkeypatch.delenv("RAYOX_NAME", raising=False)
    assert resolve(["train", "shapes", *PLACES], None).name.startswith("shapes-")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("url", "https://hooks.example.com/secret-token"),
        ("command", "curl -H 'Authorization: Bearer secret-token' https://hooks.example.com"),
    ],
)
def test_a_notice_that_may_hold_a_token_is_not_sent(monkeypatch, tmp_path, key, value):
    campaign = tmp_path / "search.yaml"
    campaign.write_text("recipe: scratch\n" + SPACE)
    for words in (["train", "scratch"], ["tune", str(campaign)], ["promote", "models:/x/1", "--to", "y"]):
        plain = resolve([*words, *DATA, *PLACES], None)
        said = resolve([*words, *DATA, *PLACES, f"notify.{key}={value}"], None)
        assert b"secret-token" not in b"".join(said.files("x").values())
        assert said.files("x") == plain.files("x")
    monkeypatch.setenv(f"RAYOX_NOTIFY__{key.upper()}", value)
    resolved = resolve(["train", "scratch", *DATA, *PLACES], None)
    assert b"secret-token" not in b"".join(resolved.files("x").values())
    assert b"***" not in resolved.recipe
    assert "notify" not in yaml.safe_load(resolved.recipe)


def test_a_local_cluster_supplies_storage_and_tracking(tmp_path):
    record = ClusterRecord(
        "m", "127.0.0.1:1", "http://127.0.0.1:2", 3, 1, f"{tmp_path}/runs", "http://127.0.0.1:3", "", ""
    )
    resolved = resolve(["train", "scratch", *DATA], record)
    assert (resolved.storage, resolved.tracking) == (f"{tmp_path}/runs", "http://127.0.0.1:3")
    assert resolved.task.state == str(tmp_path)
    assert resolve(["train", "scratch", *DATA, PLACES[0]], record).storage == "s3://runs/here"


@pytest.mark.parametrize("way", ["words", "environment", "file"])
@pytest.mark.parametrize("verb", ["train", "tune"])
def test_places_that_somebody_has_named_go_before_those_of_a_local_cluster(tmp_path, monkeypatch, way, verb):
    record = ClusterRecord(
        "m", "127.0.0.1:1", "http://127.0.0.1:2", 3, 1, f"{tmp_path}/runs", "http://127.0.0.1:3", "", ""
    )
    named = "storage: s3://runs/file\ntracking: {uri: http://file}\n" if way == "file" else ""
    (tmp_path / "mine.yaml").write_text(f"extends: shapes\n{named}")
    (tmp_path / "search.yaml").write_text(f"recipe: mine.yaml\n{SPACE}")
    more = ["storage=s3://runs/words", "tracking.uri=http://words"] if way == "words" else []
    if way == "environment":
        monkeypatch.setenv("RAYOX_STORAGE", "s3://runs/environment")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    words = [verb, "mine.yaml" if verb == "train" else "search.yaml", *more]
    resolved = resolve(words, record)
    assert (resolved.storage, resolved.tracking) == (f"s3://runs/{way}", f"http://{way}")
    loaded = load_recipe("mine.yaml", more)
    assert places_of(loaded.config, record)[:2] == (resolved.storage, resolved.tracking), "the doctor asks of the same"
    assert resolved.task.storage == resolved.storage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no verb is named"),
        (["demo"], "'demo' cannot be a job"),
        (["train", "scratch", *DATA], "storage: is not set"),
        (["train", "scratch", *DATA, "storage=runs", PLACES[1]], "'runs' is a relative path"),
        (["train", "scratch", *DATA, PLACES[0]], "tracking.uri: is not set"),
        (["train", "scratch", *DATA, PLACES[0], "tracking.uri=sqlite:////x/y.db"], "is a file of one machine"),
        (["train", "scratch", *DATA, PLACES[0], "tracking.uri=mlruns"], "is a file of one machine"),
        (["train", "scratch", *DATA, PLACES[0], "tracking.uri=sqlite+pysqlite:////x.db"], "is a file of one machine"),
        (["train", "scratch", *DATA, PLACES[0], "tracking.uri=http://bob:hush@host"], "a user or password in it"),
        (["train", "scratch", *DATA, PLACES[0], "tracking.uri=mysql://host/db?password=hush"], "password in it"),
        (["train", "scratch", *DATA, *PLACES, "--resume", "auto"], "--resume does not go behind --"),
        (["train", "scratch", *DATA, *PLACES, "--dry-run"], "--dry-run does not go behind --"),
        (["models", "list", *PLACES, "--json"], "--json does not go behind --"),
        (["train", *DATA, *PLACES], "train needs a recipe"),
        (["train", "scratch", *DATA, *PLACES, "--name", "../../x"], "name: '../../x' cannot be a name ('/' in it)"),
        (["train", "scratch", *DATA, *PLACES, "name=.."], "name: '..' cannot be a name"),
        (["tune", "simota", *PLACES, "--name", "../../x"], "name: '../../x' cannot be a name"),
        (["train", "scratch", *DATA, *PLACES, "tracking.model=a:b"], "tracking.model: 'a:b' cannot be a name"),
    ],
)
def test_what_cannot_be_a_job_is_one_message(words, said):
    with pytest.raises(ConfigError) as error:
        resolve(words, None)
    assert said in error.value.message
    assert error.value.hint
    assert "hush" not in error.value.message + error.value.hint


def test_a_promotion_may_be_tried_without_being_made():
    words = ["promote", "models:/x/1", "--to", "y", "--dry-run", *PLACES]
    assert "--dry-run" in resolve(words, None).task.arguments
    with pytest.raises(ConfigError) as error:
        resolve(["train", "scratch", *DATA, *PLACES, "--json"], None)
    assert "`rayox submit --json -- train …`" in error.value.hint


def test_a_file_of_settings_is_sent_and_is_part_of_the_id(tmp_path):
    campaign = tmp_path / "mine" / "search.yaml"
    campaign.parent.mkdir()
    campaign.write_text(SPACE + "budget: 4")
    first = resolve(["tune", str(campaign), *PLACES], None)
    assert first.task.arguments[0] == "search.yaml"
    assert first.files("x")["search.yaml"] == campaign.read_bytes()
    campaign.write_text(SPACE + "budget: 5")
    assert resolve(["tune", str(campaign), *PLACES], None).submission_id != first.submission_id


def test_a_campaign_takes_the_recipe_beside_it_along(tmp_path):
    (tmp_path / "search.yaml").write_text("recipe: toy.yaml\n" + SPACE)
    (tmp_path / "toy.yaml").write_text("extends: root.yaml")
    (tmp_path / "root.yaml").write_text("extends: shapes\nimage_size: 64")
    resolved = resolve(["tune", str(tmp_path / "search.yaml"), *PLACES], None)
    assert set(resolved.files("x")) == {"job.json", "search.yaml", "toy.yaml", "root.yaml"}
    (tmp_path / "root.yaml").write_text("extends: shapes\nimage_size: 96")
    assert resolve(["tune", str(tmp_path / "search.yaml"), *PLACES], None).submission_id != resolved.submission_id
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "search.yaml").write_text("recipe: ../toy.yaml\n" + SPACE)
    with pytest.raises(ConfigError, match=r"recipe: \.\./toy\.yaml lies in another folder") as error:
        resolve(["tune", str(tmp_path / "far" / "search.yaml"), *PLACES], None)
    assert "copy it beside search.yaml" in error.value.hint


def test_settings_of_this_process_s_variables_go_along(monkeypatch):
    """A job does not see them; those of places it is told apart, and what may hold a token stays here."""
    plain = resolve(["evaluate", "models:/x@champion", *PLACES], None)
    monkeypatch.setenv("RAYOX_EVAL__SCORE_THRESHOLD", "0.2")
    monkeypatch.setenv("RAYOX_NOTIFY__COMMAND", "tell it")
    resolved = resolve(["evaluate", "models:/x@champion", *PLACES], None)
    assert resolved.task.arguments == (*plain.task.arguments, "eval.score_threshold=0.2")
    assert resolve(["evaluate", "models:/x@champion", *PLACES, "eval.score_threshold=0.3"], None).task.arguments == (
        *plain.task.arguments,
        "eval.score_threshold=0.3",
    )


def test_what_has_finished_is_begun_anew_under_another_name():
    run = resolve(["train", "scratch", *DATA, *PLACES, "--name", "mine"], None)
    again = run.anew(2)
    assert (again.name, again.task.run, yaml.safe_load(again.recipe)["name"]) == ("mine-2", "mine-2", "mine-2")
    assert again.submission_id == run.submission_id
    campaign = resolve(["tune", "simota", *PLACES, "--name", "search"], None)
    assert campaign.anew(3).task.arguments[-2:] == ("--name", "search-3")
    assert campaign.as_it_ran(f"{campaign.name}-3") == campaign.anew(3)
    assert campaign.as_it_ran(campaign.name) == campaign.as_it_ran("") == campaign
    assert not resolve(["tune", "list", *PLACES], None).is_lasting


def test_data_of_this_machine_are_refused_with_what_to_do():
    with pytest.raises(DataError) as error:
        resolve(["train", "scratch", *DATA[:-1], "data.val.images=images", *PLACES], None)
    assert error.value.message.startswith("images: lies on this machine")
    assert "rayox data shard" in error.value.hint
