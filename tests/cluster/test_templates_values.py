"""Which values a template takes, and what it makes of them: names of services, nodes of each role, workers."""

import pytest
import yaml

from rayox.cli import main
from rayox_cluster.templates.kuberay import ROLE
from rayox_cluster.templates.reading import read_values
from rayox_cluster.templates.render import render
from rayox_cluster.templates.values import Values
from rayox_model.core.errors import ConfigError

LONG = "a" * 41


def ray_cluster(kind: str, *words: str) -> dict:
    """The part of a manifest that says what nodes there are."""
    *_, document = yaml.safe_load_all(render(kind, read_values(words)))
    spec = document["spec"]
    spec = spec.get("jobTemplate", spec)
    return spec.get("rayClusterSpec", spec)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("imag=x", "imag: no such value; did you mean image?"),
        ("data_cpus=many", "data_cpus: 'many' is not a whole number"),
        ("data_cpus=-1", "data_cpus: '-1' is not a whole number from 0"),
        ("data_cpus=²", "data_cpus: '²' is not a whole number"),
        ("image", "'image' is not key=value"),
        ("image=x\ny", "cannot be printed"),
        ("name=My Cluster", "name: 'My Cluster' is not small letters, digits and dashes between them, a letter first"),
        ("name=", "name: '' is not small letters"),
        ("name=-a", "name: '-a' is not"),
        ("name=a-", "name: 'a-' is not"),
        ("name=1a", "name: '1a' is not"),
        ("name=a.b", "name: 'a.b' is not"),
        (f"name={LONG}", "at most 40"),
        ("services=A", "services: 'A' is not"),
        ("namespace=ns_1", "namespace: 'ns_1' is not small letters, digits and dashes between them, at most 63"),
        ("image=my image", "image: 'my image' is not [REGISTRY/]NAME:TAG"),
        ("ray_version=latest", "ray_version: 'latest' is not a version"),
        ("storage=runs", "storage: 'runs' is not s3://BUCKET/PREFIX"),
        ("storage=s3://bucket", "storage: 's3://bucket' is not s3://BUCKET/PREFIX"),
        ("recipe=", "recipe: '' is not a recipe"),
        ("annotations= ", "annotations: ' ' is not a file of annotations"),
        ("promote_to=a/b", "promote_to: 'a/b' is not a name without / : @"),
        ("store_endpoint=store:8333", "store_endpoint: 'store:8333' is not http://HOST:PORT"),
        ("tracking_uri=", "tracking_uri: '' is not http://HOST:PORT"),
        ("tracking_uri=http://me:secret@mlflow:5000", "tracking_uri: contains a user, a password"),
        ("schedule=every night", "schedule: 'every night' is not five fields of cron"),
        ("schedule=0 24 * * *", "schedule: '0 24 * * *' is not five fields of cron"),
        ("schedule=*/0 2 * * *", "is not five fields of cron"),
        ("zone=europe", "zone: 'europe' is not a zone"),
        ("head_memory_gib=0", "head_memory_gib: 0 is less than 1"),
        ("workers=0", "workers: 0 is less than 1"),
        ("train_nodes=0", "train_nodes: 0 is less than 1, and a run whose train.nodes no node has is refused"),
        ("data_nodes=0", "data_nodes: 0 is less than 1"),
        ("train_nodes=5", "train_nodes: 5 is more than train_nodes_most, 4"),
        ("shared_memory_gib=9", "shared_memory_gib: 9 is more than the memory of a node, 8"),
        ("workers=2", "workers: 2 do not fit on the nodes that are there when a run starts (train_nodes: 1, GPUs per"),
        ("annotations=train.json", "annotations: 'train.json' is not a file of annotations that every node reads"),
        ("val_images=photos", "val_images: 'photos' is not a folder of images that every node reads: s3://"),
        ("init=weights.pth", "init: 'weights.pth' is not s3://…, models:/…, runs:/… or a whole path in the image"),
        ("images=s3://key:secret@bucket/images", "images: contains a user, a password or a key"),
        ("tracking_uri=http://mlflow:5000/?token=secret", "tracking_uri: contains a user, a password or a key"),
    ],
)
def test_a_wrong_value_is_one_message(word, said):
    with pytest.raises(ConfigError) as error:
        read_values([word])
    assert said in error.value.message
    assert "secret" not in error.value.message.partition("contains a user")[0]


def test_a_value_that_a_kind_has_no_use_for_is_said(capsys):
    """It would be taken to have an effect: a queue of a cluster that stays, the CPUs of a cloud's machine."""
    for kind, words, unused in (
        ("kuberay", ["queue=gpus", "name=blood", "workers=1", "data_cpus=4"], ["workers", "queue"]),
        ("kuberay-job", ["queue=gpus", "workers=1", "init=/home/ray/weights.pth", "schedule=5 4 * * 1"], ["schedule"]),
        ("aws", ["train_cpus=16", "train_machine=g5.4xlarge", "zone=us-central1-a"], ["train_cpus", "zone"]),
        ("gcp", ["train_cpus=16", "region=us-central1"], ["region"]),
    ):
        assert main(["cluster", "template", kind, *words]) == 0
        said = capsys.readouterr()
        assert said.err.splitlines() == [f"warning: {key}: {kind} has no use for it" for key in unused]
        assert said.out.startswith("# Made by: ")


def test_all_that_is_wrong_is_said_at_once_with_exit_code_2(capsys):
    assert main(["cluster", "template", "kuberay", "name=My Cluster", "train_nodes=0", "imag=x"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len([line for line in said.err.splitlines() if line.startswith(("name:", "train_nodes:", "imag:"))]) == 3


@pytest.mark.parametrize(
    "word",
    [
        *("name=a", f"name={LONG[1:]}", "name=blood-2", "namespace=1st", "storage=/mnt/runs", "storage=gs://a/b/c"),
        *("image=registry.example.org:5000/team/rayox:0.1.0", f"image=rayox@sha256:{'0' * 64}", "ray_version=2.60.0"),
        *("schedule=30 1 * * *", "schedule=*/15 0-6 1,15 * MON-FRI", "schedule=0 2 * JAN 0", "store_endpoint="),
        *("store_endpoint=https://s3.example.org", "tracking_uri=http://mlflow.team.svc:5000/base", "gpus_per_node=0"),
        *("spot_nodes_most=0", "init=", "init=s3://rayox/runs/a/checkpoints/step-00000100-0", "zone=us-central1-a"),
    ],
)
def test_a_right_value_is_taken(word):
    key, _, text = word.partition("=")
    assert str(getattr(read_values([word]), key)) == text


@pytest.mark.parametrize("kind", ["kuberay", "kuberay-job", "kuberay-cron", "aws", "gcp"])
@pytest.mark.parametrize("gpus", [0, 1, 4])
def test_there_is_always_a_node_of_each_role(kind, gpus):
    """A run whose labels no node has is refused, and the labels are those of the roles, with GPUs or without."""
    words = [f"gpus_per_node={gpus}", "train_nodes=2"]
    if kind in ("aws", "gcp"):
        [config] = yaml.safe_load_all(render(kind, read_values(words)))
        nodes = config["available_node_types"].values()
        fewest = [(node["labels"][ROLE], node["min_workers"]) for node in nodes]
    else:
        groups = ray_cluster(kind, *words)["workerGroupSpecs"]
        assert all(group["replicas"] == group["minReplicas"] for group in groups)
        fewest = [("head", 1), *((group["labels"][ROLE], group["minReplicas"]) for group in groups)]
    assert fewest[0][0] == "head"
    assert fewest[1:] == [("data", 1), ("train", 2), ("train", 0)]


def test_a_training_node_without_gpus_has_its_own_size():
    groups = ray_cluster("kuberay", "gpus_per_node=0", "train_cpus=12", "train_memory_gib=48")["workerGroupSpecs"]
    limits = {group["groupName"]: group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in groups}
    assert limits["train"] == limits["train-spot"] == {"cpu": "12", "memory": "48Gi"}
    assert limits["data"] == {"cpu": "8", "memory": "16Gi"}


def test_machines_without_gpus_are_rented_without_gpus():
    [config] = yaml.safe_load_all(render("aws", read_values(["gpus_per_node=0"])))
    machines = {name: node["node_config"]["InstanceType"] for name, node in config["available_node_types"].items()}
    assert machines["train"] == machines["data"] == "c6i.2xlarge"


@pytest.mark.parametrize(
    ("words", "workers"),
    [
        ((), 1),
        (("train_nodes=3",), 3),
        (("train_nodes=2", "gpus_per_node=4"), 8),
        (("train_nodes=2", "gpus_per_node=0"), 2),
        (("gpus_per_node=4", "workers=2"), 2),
    ],
)
def test_workers_fit_on_the_nodes_there_are(words, workers):
    assert read_values(words).num_workers == workers


def test_services_are_called_after_the_cluster():
    text = render("kuberay", read_values(["name=blood"]))
    assert "rayox-" not in text
    environment = ray_cluster("kuberay", "name=blood")["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]
    values = {one["name"]: one.get("value") for one in environment}
    assert values["MLFLOW_TRACKING_URI"] == "http://blood-mlflow:5000"
    assert values["AWS_ENDPOINT_URL"] == "http://blood-store:8333"
    assert "redis://blood-gcs:6379" in text


def test_a_job_uses_the_services_of_another_name():
    text = render("kuberay-job", read_values(["name=tuesday", "services=blood"]))
    for address in ("http://blood-mlflow:5000", "http://blood-store:8333", "redis://blood-gcs:6379"):
        assert address in text
    assert "tuesday-mlflow" not in text


def test_what_is_elsewhere_is_not_started():
    everything = {"database", "gcs", "mlflow", "store"}
    elsewhere = {
        (): set(),
        ("store_endpoint=",): {"store"},
        ("store_endpoint=http://minio.team:9000",): {"store"},
        ("tracking_uri=http://mlflow.team:5000",): {"database", "mlflow"},
        ("services=blood",): everything,
    }
    for words, missing in elsewhere.items():
        documents = yaml.safe_load_all(render("kuberay", read_values(words)))
        services = {one["metadata"]["name"].removeprefix("rayox-") for one in documents if one["kind"] == "Service"}
        assert services == everything - missing


def test_the_command_in_the_head_makes_the_same_again():
    words = ["name=blood", "init=", "gpus_per_node=0", "workers=2", "store_endpoint=", "schedule=5 4 * * 1"]
    head = render("kuberay-cron", read_values(words)).splitlines()[0]
    assert head.startswith("# Made by: rayox cluster template kuberay-cron name=blood ")
    assert read_values(words) != Values()
    for word in words[:-1]:
        assert f" {word}" in head
