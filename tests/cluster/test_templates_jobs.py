"""The script of a job on Kubernetes: trains under one name, resumes after a failure, and promotes with a key."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from make_checkpoint import golden_state

from rayox.cli import main
from rayox.config import load_recipe
from rayox_cluster.templates.reading import read_values
from rayox_cluster.templates.render import render
from rayox_model.checkpoint.snapshot import Facts, take_snapshot
from rayox_model.core.errors import ConfigError
from rayox_model.nets.spec import YOLOXSpec
from rayox_platform.config.tree import Config
from rayox_platform.data.fingerprint import fingerprint
from rayox_platform.models.bundle import SIGNATURE
from rayox_platform.models.signature import trusted
from rayox_platform.promote.signing import sign_folder, signing_key
from rayox_platform.resources.node_labels import selector
from rayox_platform.runs.data_record import DataRecord, write_data_record
from rayox_platform.runs.event_kinds import Checkpoint
from rayox_platform.runs.places import open_runs
from rayox_platform.storage.state import RESULT
from rayox_platform.train.prepare import prepare

TRACKING = "http://rayox-mlflow:5000"
RUN = "finetune-rayox-7k2p9"
# In rayox's place: what it is asked to train and promote is noted down, with an exit code of the test's; what it is
# asked about runs the real one answers.
STAND_IN = f"""#!/usr/bin/env python
import json, os, sys
from pathlib import Path
if sys.argv[1] == "runs":
    os.execv({sys.executable!r}, [{sys.executable!r}, "-m", "rayox", *sys.argv[1:]])
noted = Path(os.environ["NOTED"])
with noted.open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "train" and os.environ["TRAIN_CODE"] == "0":
    folder = Path(os.environ["RAYOX_STORAGE"], sys.argv[-1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / {RESULT!r}).write_text(json.dumps({{"run_id": "a1b2"}}))
sys.exit(int(os.environ[sys.argv[1].upper() + "_CODE"]))
"""


class Job:
    """The script of a manifest, run here by bash as the head does it."""

    def __init__(self, folder: Path, kind: str, *words: str) -> None:
        [config, job] = yaml.safe_load_all(render(kind, read_values(words)))
        self.script = config["data"]["run.sh"]
        spec = job["spec"].get("jobTemplate", job["spec"])
        self.entrypoint, self.head = spec["entrypoint"], spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
        self.folder, self.storage, self.noted = folder, folder / "runs", folder / "noted"
        (folder / "bin").mkdir()
        program = folder / "bin" / "rayox"
        program.write_text(STAND_IN)
        program.chmod(0o755)
        (folder / "bin" / "python").symlink_to(sys.executable)

    def environment(self) -> dict[str, str]:
        """Of the head, as the manifest has it."""
        return {one["name"]: one["value"] for one in self.head["containers"][0]["env"] if "value" in one}

    def run(self, cluster: str, *, train: int = 0, promote: int = 0) -> tuple[int, list[list[str]]]:
        """The exit code, and what was asked of rayox, in order."""
        self.noted.unlink(missing_ok=True)
        own = {
            "KUBERAY_CLUSTER": cluster,
            "RAYOX_STORAGE": str(self.storage),
            "RAYOX_STATE": str(self.folder / "state"),
        }
        codes = {"TRAIN_CODE": str(train), "PROMOTE_CODE": str(promote), "NOTED": str(self.noted)}
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        kept = {name: os.environ[name] for name in ("PYTHONPATH", "HOME") if name in os.environ}
        done = subprocess.run(
            ["bash", "-c", self.script], env=kept | own | codes | {"PATH": path}, capture_output=True, check=False
        )
        asked = [json.loads(line) for line in self.noted.read_text().splitlines()] if self.noted.exists() else []
        return done.returncode, asked

    def save_checkpoint(self, run: str) -> None:
        (self.storage / run).mkdir(parents=True, exist_ok=True)
        open_runs(str(self.storage)).home(run).events.tell(Checkpoint(time=1.0, step=7, path="checkpoints/step-7"))


@pytest.fixture
def nightly(tmp_path):
    return Job(tmp_path, "kuberay-cron")


@pytest.mark.slow
def test_a_night_trains_and_then_asks_the_gate_about_that_run(nightly):
    code, (train, promote) = nightly.run("rayox-7k2p9-abcde")
    assert code == 0
    assert train[:4] == ["train", "finetune", "--address", "auto"]
    assert train[-2:] == ["--name", RUN]
    assert promote == ["promote", "runs:/a1b2", "--to", "detector"]


@pytest.mark.slow
def test_a_job_that_is_tried_again_after_its_run_has_finished_is_done(tmp_path):
    """What failed came after the training: the tracking server, or the pod of its driver."""
    job = Job(tmp_path, "kuberay-job")
    assert job.run("rayox-abcde")[0] == 0
    job.save_checkpoint("finetune-rayox")
    assert job.run("rayox-fghij") == (0, [])


@pytest.mark.slow
def test_a_night_that_is_tried_again_resumes_its_run_and_no_other(nightly):
    assert nightly.run("rayox-7k2p9-abcde", train=8) == (8, [[*words_of(nightly), "--name", RUN]])
    nightly.save_checkpoint(RUN)
    assert nightly.run("rayox-7k2p9-fghij", train=8) == (8, [[*words_of(nightly), "--resume", RUN]])
    code, asked = nightly.run("rayox-7k2p9-klmno")
    assert (code, asked[0][-2:]) == (0, ["--resume", RUN])
    code, asked = nightly.run("rayox-8x3q2-pqrst")  # the next night
    assert (code, asked[0][-2:]) == (0, ["--name", "finetune-rayox-8x3q2"])


@pytest.mark.slow
def test_a_night_whose_promotion_broke_off_is_not_trained_again(nightly):
    assert nightly.run("rayox-7k2p9-abcde", promote=9)[0] == 9
    code, asked = nightly.run("rayox-7k2p9-fghij")
    assert (code, [words[0] for words in asked]) == (0, ["promote"])


@pytest.mark.slow
def test_a_refusal_of_the_gate_is_no_failure_of_the_job(nightly):
    """KubeRay would start a cluster for it twice more."""
    assert nightly.run("rayox-7k2p9-abcde", promote=7)[0] == 0
    assert nightly.run("rayox-7k2p9-abcde", promote=4)[0] == 4


@pytest.mark.slow
def test_a_single_job_trains_under_its_own_name_and_resumes(tmp_path):
    job = Job(tmp_path, "kuberay-job", "name=tuesday", "recipe=scratch")
    assert job.run("tuesday-abcde", train=8) == (8, [[*words_of(job), "--name", "scratch-tuesday"]])
    job.save_checkpoint("scratch-tuesday")
    assert job.run("tuesday-fghij") == (0, [[*words_of(job), "--resume", "scratch-tuesday"]])


@pytest.mark.slow
def test_rayox_takes_both_lines_of_the_script(toy_data, tmp_path, monkeypatch, capsys):
    """The first try's and, once there is a checkpoint, that of the next, up to what needs a cluster (--dry-run)."""
    data = [f"annotations={toy_data}/train.json", f"val_annotations={toy_data}/val.json"]
    job = Job(
        tmp_path, "kuberay-cron", "recipe=scratch", *data, f"images={toy_data}/images", f"val_images={toy_data}/images"
    )
    monkeypatch.setenv("RAYOX_STORAGE", str(job.storage))
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))

    def exit_code(asked: list[list[str]]) -> int:
        return main([word for word in asked[0] if word not in ("--address", "auto")] + ["--dry-run"])

    first = job.run("rayox-7k2p9-abcde", train=8)[1]
    assert exit_code(first) == 0, capsys.readouterr()
    begin(load_recipe("scratch", [*first[0][4:-2], "name=scratch-rayox-7k2p9"]).config)
    job.save_checkpoint("scratch-rayox-7k2p9")
    assert exit_code(first) == 2
    assert "resume it with --resume scratch-rayox-7k2p9" in capsys.readouterr().err
    assert exit_code(job.run("rayox-7k2p9-fghij", train=8)[1]) == 0, capsys.readouterr()


def begin(config: Config) -> None:
    """The first checkpoint of a run."""
    prepared, state = prepare(config, resume=False), golden_state()
    facts = Facts(
        model=YOLOXSpec(size="nano"),
        classes=("dim", "bright"),
        image_size=config.image_size,
        step=state.step,
        epoch=0,
        config=config.model_dump(mode="json"),
        metrics={},
        stream=prepared.plan.position(state.step),
    )
    prepared.home.checkpoints.write(take_snapshot(state, facts))
    prints = {split: fingerprint(images) for split, images in prepared.images.items()}
    kept = {split: DataRecord(one.annotations, one.images) for split, one in prints.items()}
    write_data_record(prepared.home.shared, kept)


def words_of(job: Job) -> list[str]:
    """The words of the script's training, without the name."""
    lines = re.search(r"train=\(\n(.*?)\n\)", job.script, re.DOTALL)
    assert lines is not None
    return shlex.split(lines[1])[1:]


@pytest.mark.parametrize("kind", ["kuberay-job", "kuberay-cron"])
def test_the_settings_of_the_training_are_settings(tmp_path, monkeypatch, kind):
    job = Job(tmp_path, kind, "train_nodes=3", "val_images=/mnt/val")
    for name, value in job.environment().items():
        monkeypatch.setenv(name, value)
    _, recipe, _, _, *settings = words_of(job)
    loaded = load_recipe(recipe, settings)
    loaded.require("data.train.annotations", "data.val.annotations")
    assert loaded.config.storage == "s3://rayox/runs"
    assert loaded.config.tracking.uri == TRACKING
    assert loaded.config.train.workers == (3, 3)
    assert loaded.config.model.init == "/home/ray/weights.pth"
    assert loaded.config.data.val.images == "/mnt/val"
    assert selector(loaded.config.train.nodes) == {"rayox.io/role": "train"}


@pytest.mark.parametrize(
    ("words", "init"),
    [
        ((), "model.init=/home/ray/weights.pth"),
        (("init=s3://a/runs/b/checkpoints/step-1-2",), "model.init=s3://a/runs/b/checkpoints/step-1-2"),
        (("init=",), None),
        (("recipe=scratch",), None),
    ],
)
def test_the_head_says_which_weights_a_training_starts_from(tmp_path, words, init):
    named = [word for word in words_of(Job(tmp_path, "kuberay-job", *words)) if word.startswith("model.init=")]
    assert named == ([init] if init else [])
    head = render("kuberay-job", read_values(words)).partition("apiVersion")[0]
    assert (f"starts from: {init.partition('=')[2]}" in head) if init else ("starts from" not in head)
    for value in ("annotations=…", "images=…", "val_annotations=…", "val_images=…", "s3://rayox/data/train.json"):
        assert value in head


@pytest.mark.slow
def test_a_value_is_no_piece_of_a_shell_line(tmp_path):
    recipe = "x; exit 9 $(exit 9) `exit 9` ' \" \\ NAME @WORDS @NAME @TRAIN"
    job = Job(tmp_path, "kuberay-cron", f"recipe={recipe}", f"promote_to={recipe.replace('@', '')}")
    assert re.fullmatch(r"bash /[a-z/]+/run\.sh", job.entrypoint)  # two shells see it before the script's
    code, (train, promote) = job.run("rayox-7k2p9-abcde")
    assert (code, train[:2], promote[-1]) == (0, ["train", recipe], recipe.replace("@", ""))


def test_the_key_of_the_head_comment_signs_what_its_public_half_vouches_for(tmp_path, monkeypatch):
    """The commands as they stand, the secret's files where the pod has them, the settings of the pod's environment."""
    head = render("kuberay-cron", read_values([])).partition("apiVersion")[0]
    [make] = [line.removeprefix("#").strip() for line in head.splitlines() if " openssl " in line]
    subprocess.run(["bash", "-c", make], cwd=tmp_path, check=True, capture_output=True)
    job = Job(tmp_path, "kuberay-cron")
    [volume] = [one for one in job.head["volumes"] if "secret" in one]
    [mount] = [one for one in job.head["containers"][0]["volumeMounts"] if one["name"] == volume["name"]]
    assert mount["readOnly"]
    assert stat.filemode(0o100000 | volume["secret"]["defaultMode"]) == "-r--r-----"
    for name, value in job.environment().items():
        monkeypatch.setenv(name, value.replace(mount["mountPath"], str(tmp_path)))
    promotion = load_recipe(None).config.promotion
    key = signing_key(promotion, TRACKING, tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_bytes(b"weights")
    sign_folder(model, key, trusted(promotion, TRACKING, tmp_path))
    assert (model / SIGNATURE).is_file()


def test_without_its_key_a_night_could_promote_nothing(tmp_path):
    """So that the test above can fail."""
    with pytest.raises(ConfigError, match=r"promotion\.key: no key to sign a champion"):
        signing_key(load_recipe(None).config.promotion, TRACKING, tmp_path)


def test_only_the_head_of_a_nightly_job_has_the_key():
    for kind, expected in (("kuberay", 0), ("kuberay-job", 0), ("kuberay-cron", 1)):
        assert render(kind, read_values([])).count("secretName: rayox-promotion") == expected
    groups = yaml.safe_dump(
        list(yaml.safe_load_all(render("kuberay-cron", read_values([]))))[1]["spec"]["jobTemplate"]["rayClusterSpec"][
            "workerGroupSpecs"
        ]
    )
    assert "promotion" not in groups.lower()


def test_the_nightly_job_has_its_schedule_and_its_champion():
    [config, job] = yaml.safe_load_all(render("kuberay-cron", read_values(["schedule=30 1 * * *", "promote_to=cells"])))
    assert job["spec"]["schedule"] == "30 1 * * *"
    assert " --to cells\n" in config["data"]["run.sh"]
