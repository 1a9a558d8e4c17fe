"""What a submitted job's driver runs: its verb anew or resumed, as the storage says, whatever its cluster remembers."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from make_checkpoint import golden_state, save_checkpoint

from rayox.config import load_recipe
from rayox.submission import job_driver
from rayox.submission.resolved import resolve
from rayox_model.checkpoint.snapshot import Facts
from rayox_model.nets.spec import YOLOXSpec
from rayox_platform.tune.campaign_home import campaign_home
from rayox_platform.tune.ledger import Ledger
from rayox_platform.tune.ledger_records import Ended

pytestmark = pytest.mark.slow

VARIABLES = ("RAYOX_STATE", "RAYOX_ADDRESS", "RAYOX_SUBMISSION", "RAYOX_TRACKING__URI", "RAYOX_STORAGE")
TRACKING = "tracking.uri=http://mlflow:5000"


@pytest.fixture
def driven(monkeypatch, tmp_path):
    """The command line that the driver of a job of these words runs."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what the driver sets is taken back
        monkeypatch.delenv(name)
    ran: list[list[str]] = []
    monkeypatch.setattr("rayox.cli.main", lambda words: ran.append(words) or 0)
    storage = tmp_path / "storage"
    storage.mkdir()

    def drive(*words: str, goes_on: bool = False) -> list[str]:
        resolved = resolve([*words, f"storage={storage}", TRACKING], None)
        folder = tmp_path / resolved.submission_id
        folder.mkdir(exist_ok=True)
        for name, content in resolved.files(resolved.submission_id, goes_on).items():
            (folder / name).write_bytes(content)
        assert job_driver.main(str(folder)) == 0
        return [word.replace(f"{folder}/", "") for word in ran.pop()]

    return drive


def begun(storage: Path, *words: str, finished: bool = False, of_node: Sequence[str] = ()) -> None:
    """The run of these words, as an earlier job has left it; of_node are settings of the variables there."""
    resolved = resolve([*words, f"storage={storage}", TRACKING], None)
    recipe = storage.parent / "began.yaml"
    recipe.write_bytes(resolved.recipe)
    config = load_recipe(str(recipe), of_node).config
    facts = Facts(
        model=YOLOXSpec(size="nano"),
        classes=("a",),
        image_size=(64, 64),
        step=7,
        epoch=1,
        config=config.model_dump(mode="json"),
        metrics={},
    )
    run = storage / resolved.name
    (run / "checkpoints").mkdir(parents=True)
    save_checkpoint(run / "checkpoints", golden_state(), facts)
    if finished:
        (run / "result.json").write_text(json.dumps({"metrics": {"AP": 0.5}}))


TRAIN = ("train", "shapes", "--name", "mine")


def test_a_run_is_begun_or_resumed_as_its_storage_says(driven, tmp_path):
    assert driven(*TRAIN) == ["train", "recipe.yaml"]
    begun(tmp_path / "storage", *TRAIN)
    assert driven(*TRAIN) == ["train", "recipe.yaml", "--resume", "mine"]


def test_a_finished_run_is_shown_by_a_cluster_that_has_not_trained_it(driven, tmp_path, capsys):
    """The head may be another one, or new: it knows of no job of this work."""
    begun(tmp_path / "storage", *TRAIN, finished=True)
    assert driven(*TRAIN) == ["runs", "show", "mine", f"storage={tmp_path / 'storage'}"]
    assert "mine is finished already" in capsys.readouterr().out
    assert driven(*TRAIN, "train.workers=3")[0] == "runs", "which would not have made another model"
    assert driven(*TRAIN, "train.epochs=40")[-2:] == ["--resume", "mine"], "which is refused: it is another run"


def test_settings_that_have_changed_under_a_name_go_along_as_words(driven, tmp_path):
    """--resume takes those that may change and refuses the others; without them it would ignore all."""
    begun(tmp_path / "storage", *TRAIN)
    words = driven(*TRAIN, "train.epochs=40", "train.workers=3", "tracking.experiment=other")
    assert words[:2] == ["train", "recipe.yaml"]
    assert {"train.epochs=40", "train.workers=[3, 3]", 'tracking.experiment="other"'} <= set(words)
    assert not [word for word in words if word.startswith(("name=", "storage=", "tracking.uri="))]


def test_what_the_variables_of_a_node_say_does_not_make_it_another_run(driven, tmp_path, monkeypatch):
    """Neither then nor now: a key that signs is on a head, and its pods name their storage."""
    begun(
        tmp_path / "storage", *TRAIN, of_node=["promotion.key=/etc/rayox/promotion/key.pem", "train.evaluate_every=3"]
    )
    monkeypatch.setenv("RAYOX_TRAIN__EVALUATE_EVERY", "3")
    monkeypatch.setenv("RAYOX_TRACKING__EXPERIMENT", "ours")
    monkeypatch.setenv("RAYOX_NOTIFY__URL", "https://hooks.example.com/token")
    assert driven(*TRAIN[:2], "--name", "mine") == ["train", "recipe.yaml", "--resume", "mine"]


def search(storage: Path) -> None:
    Ledger(campaign_home(str(storage), "simota").journal()).tell(Ended(status="interrupted", why=""))


def test_a_campaign_is_resumed_where_there_is_one(driven, tmp_path):
    """Also one that the job of another cluster began; and one whose first job died before it began is begun."""
    assert driven("tune", "simota", goes_on=True)[-1] != "--resume"
    search(tmp_path / "storage")
    assert driven("tune", "simota")[-1] == "--resume"
    assert driven("tune", "simota", "--name", "other")[-1] != "--resume"
    assert driven("tune", "list")[-1] != "--resume"


def test_a_plan_of_a_campaign_is_made_each_time_it_is_asked_for(tmp_path):
    words = ["tune", "simota", "--plan", f"storage={tmp_path}", TRACKING]
    assert not resolve(words, None).is_lasting


def test_the_state_folder_is_the_task_s_else_the_node_s_else_that_of_its_home(monkeypatch, tmp_path):
    seen: list[str] = []
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("rayox.cli.main", lambda words: seen.append(job_driver.os.environ["RAYOX_STATE"]) or 0)
    monkeypatch.setenv("HOME", "/")  # as in a container without a user, where nothing can be written

    def run(state: str) -> None:
        (tmp_path / "job.json").write_bytes(job_driver.Task("models", ("list",), state=state).to_json())
        job_driver.main(str(tmp_path))

    monkeypatch.setenv("RAYOX_STATE", "/scratch/rayox")
    run("")
    monkeypatch.delenv("RAYOX_STATE")
    run("/shared/.rayox")
    monkeypatch.delenv("RAYOX_STATE")
    run("")
    assert seen[:2] == ["/scratch/rayox", "/shared/.rayox"]
    assert seen[2] != "/.rayox"
