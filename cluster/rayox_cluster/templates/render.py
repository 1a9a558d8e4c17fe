"""A template's text: what it is, the command that made it, what has to be there before, and the manifests."""

import dataclasses
import shlex
from collections.abc import Callable, Mapping

import yaml

from rayox_cluster.templates.box import compose, dockerfile
from rayox_cluster.templates.kuberay import ray_cluster, ray_cron_job, ray_job
from rayox_cluster.templates.machines import aws, gcp
from rayox_cluster.templates.pods import Manifest
from rayox_cluster.templates.values import Values

KINDS: Mapping[str, Callable[[Values], list[Manifest]]] = {
    "kuberay": ray_cluster,
    "kuberay-job": ray_job,
    "kuberay-cron": ray_cron_job,
    "aws": aws,
    "gcp": gcp,
    "compose": compose,
}
DOCKERFILE = "dockerfile"

SECRETS = """\
kubectl create secret generic rayox-store --from-literal=AWS_ACCESS_KEY_ID=… --from-literal=AWS_SECRET_ACCESS_KEY=…
kubectl create secret generic rayox-database --from-literal=POSTGRES_USER=… --from-literal=POSTGRES_PASSWORD=…
kubectl create secret generic rayox-gcs --from-literal=password=…"""
LAUNCHER = """\
beside this file: rayox.env with RAYOX_STORAGE=… and MLFLOW_TRACKING_URI=… (and what else the nodes are to know)
ray get-auth-token --generate     # makes ~/.ray/auth_token, which the nodes get
ray up FILE; ray dashboard FILE   # a tunnel to the dashboard, which listens on the head's loopback alone"""
OF_KUBERAY = "the services and secrets of the kuberay template\nkubectl apply -f FILE"
BEFORE = {
    "kuberay": f"{SECRETS}\nkubectl apply -f FILE",
    "kuberay-job": OF_KUBERAY,
    "kuberay-cron": f"KubeRay's feature gate RayCronJob; {OF_KUBERAY}",
    "aws": LAUNCHER,
    "gcp": LAUNCHER,
    "compose": """\
beside this file: .env with POSTGRES_USER, POSTGRES_PASSWORD, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
python -c "import secrets; print(secrets.token_hex(32))" > ray-token
docker compose up -d; RAY_AUTH_TOKEN_PATH=ray-token rayox doctor --address http://127.0.0.1:8265""",
    DOCKERFILE: "docker build -t IMAGE -f FILE .",
}


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True  # repeated parts are written out: manifests are read by people


def render(kind: str, values: Values) -> str:
    """The whole file of a kind of KINDS, or the Dockerfile."""
    changed = {
        field.name: getattr(values, field.name)
        for field in dataclasses.fields(Values)
        if getattr(values, field.name) != field.default
    }
    words = shlex.join(["rayox", "cluster", "template", kind, *(f"{key}={value}" for key, value in changed.items())])
    head = [f"Made by: {words}", "Needs before, and is used by:", *(f"  {line}" for line in BEFORE[kind].splitlines())]
    comment = "".join(f"# {line}".rstrip() + "\n" for line in head)
    if kind == DOCKERFILE:
        return comment + dockerfile(values)
    text = yaml.dump_all(
        KINDS[kind](values), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True, default_flow_style=False
    )
    return comment + text
