"""What the objects of a manifest name is there: services and their ports, pods, volumes, secrets and files."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator

import pyarrow.fs
import pytest
import yaml
from object_store import moto_store

from rayox_cluster.templates.reading import read_values
from rayox_cluster.templates.render import render

ADDRESS = re.compile(r"\b(?:https?|redis|postgresql)://(?:[^@/\s]*@)?([a-z0-9-]+):(\d+)")
SECRET = re.compile(r"^# +kubectl create secret generic (\S+)(?: --namespace (\S+))?((?: --from-\S+)+)")
KEY = re.compile(r"--from-(?:literal|file)=([\w.]+)")
KINDS = ("kuberay", "kuberay-job", "kuberay-cron")
WORDS: list[tuple[str, ...]] = [
    (),
    ("name=blood", "namespace=ml"),
    ("name=tuesday", "services=blood"),
    ("store_endpoint=",),
    ("gpus_per_node=0", "spot_nodes_most=0"),
]


class Manifest:
    """A manifest's objects, with those of the kuberay template that it uses."""

    def __init__(self, kind: str, words: tuple[str, ...] = ()) -> None:
        values = read_values(words)
        text = render(kind, values)
        self.objects = list(yaml.safe_load_all(text))
        self.around: list[dict] = []
        heads = text
        if kind != "kuberay" or values.services:
            like = [word for word in words if not word.startswith(("name=", "services="))]
            beside = render("kuberay", read_values([*like, f"name={values.services or values.name}"]))
            self.around = [one for one in yaml.safe_load_all(beside) if one["kind"] != "RayCluster"]
            heads += beside
        self.made = {
            (found[1], found[2] or "default"): set(KEY.findall(found[3]))
            for line in heads.splitlines()
            if (found := SECRET.match(line))
        }

    def of_kind(self, *kinds: str) -> list[dict]:
        return [one for one in (*self.objects, *self.around) if one["kind"] in kinds]

    def pods(self) -> Iterator[tuple[str, dict, dict]]:
        """(namespace, labels, spec with the claims of its set as volumes)"""
        for one in self.of_kind("Deployment", "StatefulSet"):
            template = one["spec"]["template"]
            claims = [{"name": claim["metadata"]["name"]} for claim in one["spec"].get("volumeClaimTemplates", ())]
            spec = template["spec"] | {"volumes": [*template["spec"].get("volumes", ()), *claims]}
            yield one["metadata"]["namespace"], template["metadata"]["labels"], spec
        for one in self.of_kind("RayCluster", "RayJob", "RayCronJob"):
            cluster = self.cluster(one)
            for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
                yield one["metadata"]["namespace"], {}, group["template"]["spec"]

    @staticmethod
    def cluster(one: dict) -> dict:
        spec = one["spec"].get("jobTemplate", one["spec"])
        return spec.get("rayClusterSpec", spec)

    def faults(self) -> list[str]:
        return [*self.lost_addresses(), *self.lost_pods(), *self.lost_volumes(), *self.lost_files()]

    def lost_addresses(self) -> Iterator[str]:
        """Addresses that no Service has."""
        services = {
            (one["metadata"]["name"], port["port"]) for one in self.of_kind("Service") for port in one["spec"]["ports"]
        }
        addresses = {(host, int(port)) for host, port in ADDRESS.findall(yaml.dump(self.objects))}
        assert addresses
        yield from (f"no service {host}:{port}" for host, port in sorted(addresses - services))

    def lost_pods(self) -> Iterator[str]:
        """Services, and keepers of pods, whose selectors do not find exactly theirs."""
        spaces = {one["metadata"]["namespace"] for one in (*self.objects, *self.around)}
        yield from ["objects lie in several namespaces"] if len(spaces) != 1 else []
        for one in self.of_kind("Service"):
            name, wanted = one["metadata"]["name"], one["spec"]["selector"].items()
            found = [spec for _, labels, spec in self.pods() if wanted <= labels.items()]
            ports = {port["containerPort"] for spec in found for port in spec["containers"][0]["ports"]}
            if len(found) != 1 or {port["targetPort"] for port in one["spec"]["ports"]} != ports:
                yield f"service {name} has not one pod that listens there"
        for one in self.of_kind("Deployment", "StatefulSet"):
            labels = one["spec"]["template"]["metadata"]["labels"]
            if not one["spec"]["selector"]["matchLabels"].items() <= labels.items():
                yield f"{one['metadata']['name']} does not select its own pods"
            names = {service["metadata"]["name"] for service in self.of_kind("Service")}
            if one["kind"] == "StatefulSet" and one["spec"]["serviceName"] not in names:
                yield f"{one['metadata']['name']} has no service {one['spec']['serviceName']}"

    def lost_volumes(self) -> Iterator[str]:
        """Mounts without a volume, and volumes that nothing mounts."""
        for _, _, spec in self.pods():
            volumes = {volume["name"] for volume in spec.get("volumes", ())}
            mounts = [mount for one in spec["containers"] for mount in one.get("volumeMounts", ())]
            yield from (f"no volume {name}" for name in {mount["name"] for mount in mounts} - volumes)
            yield from (f"volume {name} is not mounted" for name in volumes - {mount["name"] for mount in mounts})
            if len({mount["mountPath"] for mount in mounts}) != len(mounts):
                yield "two volumes at one path"

    def lost_files(self) -> Iterator[str]:
        """Secrets and their keys that the head comments do not make, and ConfigMaps that are not there."""
        maps = {
            (one["metadata"]["name"], one["metadata"]["namespace"]): one["data"] for one in self.of_kind("ConfigMap")
        }
        for space, _, spec in self.pods():
            [container] = spec["containers"]
            named = [one["valueFrom"]["secretKeyRef"] for one in container["env"] if "secretKeyRef" in str(one)]
            named += [
                self.cluster(one)["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]
                for one in self.of_kind("RayCluster", "RayJob", "RayCronJob")
            ]
            for one in named:
                if one["key"] not in self.made.get((one["name"], space), ()):
                    yield f"secret {one['name']} with {one['key']} is not made"
            for volume in spec.get("volumes", ()):
                at = next((m["mountPath"] for m in container["volumeMounts"] if m["name"] == volume["name"]), "")
                if "secret" in volume:
                    have = self.made.get((volume["secret"]["secretName"], space), set())
                elif "configMap" in volume:
                    have = set(maps.get((volume["configMap"]["name"], space), ()))
                else:
                    continue
                used = set(re.findall(rf"{at}/([\w.]+)", yaml.dump(self.objects)))
                yield from (f"{at} has no {name}" for name in sorted(used - have))
                yield from [] if used else [f"nothing of {at} is used"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_what_is_named_is_there(kind, words):
    assert Manifest(kind, words).faults() == []


def test_the_cluster_of_another_s_services_finds_them():
    whole = Manifest("kuberay", ("name=tuesday", "services=blood"))
    assert {one["kind"] for one in whole.objects} == {"RayCluster"}
    assert whole.of_kind("Service")


def rename_service(one: Manifest) -> None:
    one.of_kind("Service")[0]["metadata"]["name"] += "s"


def move_port(one: Manifest) -> None:
    one.of_kind("Service")[0]["spec"]["ports"] = [{"port": 5432, "targetPort": 5433}]


def relabel(one: Manifest) -> None:
    one.of_kind("Deployment")[0]["spec"]["template"]["metadata"]["labels"] = {"a": "b"}


def drop_volume(one: Manifest) -> None:
    one.cluster(one.of_kind("RayCronJob")[0])["headGroupSpec"]["template"]["spec"]["volumes"].pop()


def forget_secret(one: Manifest) -> None:
    one.made.pop(("rayox-promotion", "default"))


def rename_script(one: Manifest) -> None:
    [script] = one.of_kind("ConfigMap")
    script["data"] = {"other.sh": ""}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (rename_service, "no service rayox-database:5432|rayox-database has no service"),
        (move_port, "service rayox-database has not one pod"),
        (relabel, "rayox-mlflow does not select its own pods"),
        (drop_volume, "no volume promotion"),
        (forget_secret, "/etc/rayox/promotion has no key.pem"),
        (rename_script, "/etc/rayox/job has no run.sh"),
    ],
)
def test_what_is_lost_is_found(spoil: Callable[[Manifest], None], said: str):
    """So that the tests above can fail."""
    whole = Manifest("kuberay-cron")
    spoil(whole)
    assert re.search(said, "\n".join(whole.faults()))


@pytest.mark.parametrize("kind", ["kuberay", "compose"])
def test_the_head_s_command_makes_the_bucket_of_the_store(kind, monkeypatch):
    """What it runs in a container, here with a store of this machine."""
    [command] = [
        line for line in render(kind, read_values(["storage=s3://cells/runs"])).splitlines() if "boto3" in line
    ]
    with moto_store() as address:
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-central-1"}
        for name, value in (keys | {"AWS_ENDPOINT_URL": f"http://{address}"}).items():
            monkeypatch.setenv(name, value)
        words = shlex.split(command)
        subprocess.run([sys.executable, *words[words.index("python") + 1 :]], check=True)
        store = pyarrow.fs.S3FileSystem(endpoint_override=address, scheme="http")
        assert store.get_file_info("cells").type == pyarrow.fs.FileType.Directory


def test_a_store_elsewhere_has_its_buckets():
    for words in (["store_endpoint="], ["store_endpoint=http://minio:9000"], ["storage=/mnt/runs"]):
        assert "bucket" not in render("kuberay", read_values(words)).partition("apiVersion")[0]
