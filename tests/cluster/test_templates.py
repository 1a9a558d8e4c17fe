"""Every manifest is valid by its own tool's schema, holds no secret, and is what the example in cluster/ shows."""

import json
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from rayox_cluster.templates.kuberay import MARKET, ROLE
from rayox_cluster.templates.reading import read_values
from rayox_cluster.templates.render import DOCKERFILE, KINDS, render
from rayox_cluster.templates.values import Values
from rayox_model.core.errors import ConfigError

HERE = Path(__file__).parent
SCHEMAS = HERE.parent / "data" / "kuberay"
EXAMPLES = HERE.parents[1] / "cluster" / "examples"
FILES = {kind: f"{kind}.yaml" for kind in KINDS} | {DOCKERFILE: "Dockerfile"}
SECRET = re.compile(
    r"(?i)(password|secret_access_key|token)\S*[:=]\s*['\"]?(?!\$|/|~|\.|POSTGRES|AWS|token\b)[a-z0-9+/]{12,}"
)


def manifests(kind: str, *words: str) -> list[dict]:
    return list(yaml.safe_load_all(render(kind, read_values(words))))


def of_kind(documents: list[dict], kind: str) -> dict:
    [found] = [document for document in documents if document["kind"] == kind]
    return found


@pytest.mark.parametrize("kind", FILES)
def test_the_example_is_what_the_command_prints(kind):
    """To make them anew: for each kind, `rayox cluster template KIND > cluster/examples/FILE`."""
    assert (EXAMPLES / FILES[kind]).read_text() == render(kind, Values())


@pytest.mark.parametrize(
    ("kind", "resource"), [("kuberay", "RayCluster"), ("kuberay-job", "RayJob"), ("kuberay-cron", "RayCronJob")]
)
@pytest.mark.parametrize(
    "words", [(), ("gpus_per_node=0", "store_endpoint="), ("name=other", "spot_nodes_most=0"), ("queue=team",)]
)
def test_kuberay_manifests_are_valid(kind, resource, words):
    schema = json.loads((SCHEMAS / f"{resource.lower()}.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(of_kind(manifests(kind, *words), resource))


def test_the_schema_refuses_what_is_wrong():
    """So that the test above can fail."""
    schema = json.loads((SCHEMAS / "raycluster.schema.json").read_text())
    cluster = of_kind(manifests("kuberay"), "RayCluster")
    cluster["spec"]["headGroupSpec"]["rayStartParam"] = {}
    with pytest.raises(jsonschema.ValidationError, match="rayStartParam"):
        jsonschema.Draft202012Validator(schema).validate(cluster)


@pytest.mark.parametrize("kind", ["aws", "gcp"])
def test_launcher_files_are_valid_by_ray(kind):
    [config] = manifests(kind)
    validate_config(prepare_config(config))
    with pytest.raises(Exception, match="Additional properties are not allowed"):
        validate_config(prepare_config(config) | {"max_worker": 3})


def test_compose_is_valid():
    schema = json.loads((HERE / "compose.schema.json").read_text())
    [file] = manifests("compose")
    jsonschema.Draft202012Validator(schema).validate(file)
    services = file["services"]
    assert set(services) == {"head", "data", "train", "database", "store", "mlflow"}
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def instructions(text: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions in order, continued lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip() and not line.startswith("#")]


def dockerfile_faults(text: str) -> list[str]:
    """The rules of common linters for what is in ours, by their usual numbers."""
    known = {"FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR"}
    found, last_user = [], "root"
    for name, rest in instructions(text):
        if name not in known:
            found.append(f"unknown instruction {name}")
        if name == "FROM" and not re.fullmatch(r"[\w./-]+:(?!latest$)[\w.-]+", rest):
            found.append(f"DL3006, DL3007: {rest} has no version")
        if name == "RUN" and "pip install" in rest:
            words = rest.partition("pip install")[2].replace("--constraint ", "--constraint=").split()
            packages = [word for word in words if not word.startswith("-")]
            pinned = "--constraint /tmp/requirements.lock" in rest
            loose = [one for one in packages if not (pinned or "==" in one or one.startswith("/"))]
            found += [f"DL3013: {one} has no version" for one in loose]
            found += [] if "--no-cache-dir" in rest else ["DL3042: pip keeps its cache"]
        if name == "RUN" and re.search(r"\bsudo\b|\bcd ", rest):
            found.append("DL3004, DL3003: sudo or cd")
        if name == "COPY" and not (rest.endswith("/") or len(rest.split()) == 3):
            found.append(f"DL3021: {rest} does not end with a folder")
        if name == "WORKDIR" and not rest.startswith("/"):
            found.append("DL3000: a relative folder")
        last_user = rest if name == "USER" else last_user
    return found + (["DL3002: the last user is root"] if last_user in ("root", "0") else [])


def test_the_dockerfile_keeps_the_rules_of_linters():
    text = render(DOCKERFILE, Values())
    assert instructions(text)[0][0] == "FROM"
    assert dockerfile_faults(text) == []
    assert dockerfile_faults("FROM ray\nRUN pip install boto3\nADD x /\n") == [
        "DL3006, DL3007: ray has no version",
        "DL3013: boto3 has no version",
        "DL3042: pip keeps its cache",
        "unknown instruction ADD",
        "DL3002: the last user is root",
    ]


def test_the_image_has_the_versions_that_are_tested():
    """What the lock has is what the tests have run with: pip takes nothing else, also of what rayox itself needs."""
    text = render(DOCKERFILE, Values())
    [copied] = [rest.split() for name, rest in instructions(text) if name == "COPY"]
    assert copied[1].endswith(".whl")
    assert copied[2:] == ["requirements.lock", "/tmp/"]
    [install] = [rest for name, rest in instructions(text) if name == "RUN"]
    words = install.split()
    assert words[words.index("--constraint") + 1] == "/tmp/requirements.lock"
    locked = {line.partition("==")[0] for line in (HERE.parents[1] / "requirements.lock").read_text().split()}
    assert {"psycopg2-binary", "boto3"} <= locked & set(words)


@pytest.mark.parametrize("kind", FILES)
def test_no_manifest_has_a_secret_in_it(kind):
    assert not SECRET.search(render(kind, Values()))
    assert SECRET.search("POSTGRES_PASSWORD: hunter2hunter2")


def test_the_cluster_has_its_kinds_of_nodes():
    documents = manifests("kuberay", "data_nodes_most=5", "spot_nodes_most=7")
    spec = of_kind(documents, "RayCluster")["spec"]
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"]
    assert {name: group["labels"] for name, group in groups.items()} == {
        "data": {ROLE: "data", MARKET: "on-demand"},
        "train": {ROLE: "train", MARKET: "on-demand"},
        "train-spot": {ROLE: "train", MARKET: "spot"},
    }
    assert (groups["data"]["maxReplicas"], groups["train-spot"]["maxReplicas"]) == (5, 7)
    gpus = {name: "nvidia.com/gpu" in container_of(group)["resources"]["limits"] for name, group in groups.items()}
    assert gpus == {"data": False, "train": True, "train-spot": True}


def test_the_password_of_the_head_s_state_is_no_argument(tmp_path):
    """The shell as it stands, with a program in the server's place that shows what it gets."""
    state = next(one for one in manifests("kuberay") if one["metadata"]["name"] == "rayox-gcs")
    command = state["spec"]["template"]["spec"]["containers"][0]["command"]
    (tmp_path / "valkey-server").write_text('#!/bin/sh\necho "$@"\ncat\n')
    (tmp_path / "valkey-server").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "VALKEY_PASSWORD": "swordfish"}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert shown == ["- --dir /data --appendonly yes", 'requirepass "swordfish"']


def test_every_container_has_limits_and_every_service_a_probe():
    documents = manifests("kuberay")
    beside = [document for document in documents if document["kind"] in ("Deployment", "StatefulSet")]
    assert {document["metadata"]["name"] for document in beside} == {f"rayox-{part}" for part in PARTS}
    for document in beside:
        container = document["spec"]["template"]["spec"]["containers"][0]
        assert container["readinessProbe"]
        assert container["livenessProbe"]
        assert set(container["resources"]) == {"requests", "limits"}
        assert container["securityContext"]["runAsNonRoot"]


PARTS = ("database", "gcs", "store", "mlflow")


def container_of(group: dict) -> dict:
    return group["template"]["spec"]["containers"][0]


def test_a_job_in_a_queue_is_admitted_whole():
    """Kueue reserves what the cluster begins with: it neither grows nor has groups that begin empty."""
    words = ("queue=team", "priority=urgent", "train_nodes=2")
    job = of_kind(manifests("kuberay-job", *words), "RayJob")
    assert job["metadata"]["labels"] == {
        "kueue.x-k8s.io/queue-name": "team",
        "kueue.x-k8s.io/priority-class": "urgent",
    }
    assert job["spec"]["shutdownAfterJobFinishes"], "or Kueue would never get its room back"
    cluster = job["spec"]["rayClusterSpec"]
    assert not cluster["enableInTreeAutoscaling"]
    sizes = {group["groupName"]: (group["minReplicas"], group["maxReplicas"]) for group in cluster["workerGroupSpecs"]}
    assert sizes == {"data": (1, 1), "train": (2, 2)}
    assert "LocalQueue team" in render("kuberay-job", read_values(words))
    with pytest.raises(ConfigError, match="priority: has no effect without queue=NAME"):
        read_values(("priority=urgent",))
