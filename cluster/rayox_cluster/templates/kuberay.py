"""KubeRay's RayCluster, RayJob and RayCronJob: a head, CPU nodes for data, GPU nodes for training, and spot ones."""

import shlex
from typing import Any

from rayox_cluster.templates.pods import GCS_SECRET, SECURITY, Manifest, resources, variables
from rayox_cluster.templates.services import VALKEY_PORT, beside_ray, store_variables
from rayox_cluster.templates.values import Values

ROLE = "rayox.io/role"  # head, data, train: what data.nodes and train.nodes select by
MARKET = "ray.io/market-type"
SPOT_TAINT = {"key": "rayox.io/spot", "operator": "Exists", "effect": "NoSchedule"}
GPU_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
SAVE_SECONDS = 120  # between the notice that a node goes and its end


def ray_cluster(values: Values) -> list[Manifest]:
    """A cluster that stays, with everything it needs beside it."""
    cluster = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": _metadata(values),
        "spec": cluster_spec(values),
    }
    return [*beside_ray(values), cluster]


def ray_job(values: Values) -> list[Manifest]:
    """A cluster for one training, gone after it."""
    spec = _job_spec(values, training(values))
    return [{"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": _metadata(values), "spec": spec}]


def ray_cron_job(values: Values) -> list[Manifest]:
    """Every night: train anew, and promote what the gate finds better than the model in use."""
    promote = ["rayox", "promote", f"models:/{values.recipe}", "--to", values.promote_to]
    entrypoint = f"{training(values)} && {shlex.join(promote)}"
    spec = {"schedule": values.schedule, "timeZone": "Etc/UTC", "jobTemplate": _job_spec(values, entrypoint)}
    return [{"apiVersion": "ray.io/v1", "kind": "RayCronJob", "metadata": _metadata(values), "spec": spec}]


def training(values: Values) -> str:
    """The command line of a training on the cluster it runs in."""
    settings = {
        "data.train.annotations": values.annotations,
        "data.train.images": values.images,
        "data.val.annotations": values.val_annotations,
        "data.val.images": values.val_images,
        "train.workers": str(values.workers),
        "train.nodes": f"{ROLE}=train",
        "data.nodes": f"{ROLE}=data",
    }
    words = ["rayox", "train", values.recipe, *(f"{key}={value}" for key, value in settings.items())]
    return shlex.join([*words, "--address", "auto"])


def cluster_spec(values: Values) -> Manifest:
    return {
        "rayVersion": values.ray_version,
        "authOptions": {"mode": "token"},  # the operator makes the token, in a secret of the cluster's name
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": values.idle_minutes * 60,
            "upscalingMode": "Default",
            "resources": resources(0.5, 1),
        },
        "gcsFaultToleranceOptions": {
            "redisAddress": f"redis://{values.name}-gcs:{VALKEY_PORT}",
            "redisPassword": {"valueFrom": {"secretKeyRef": {"name": GCS_SECRET, "key": "password"}}},
        },
        "headGroupSpec": _head(values),
        "workerGroupSpecs": [
            _workers(values, "data", values.data_nodes, values.data_nodes_most, 0),
            _workers(values, "train", values.train_nodes, values.train_nodes_most, values.gpus_per_node),
            _workers(values, "train-spot", 0, values.spot_nodes_most, values.gpus_per_node),
        ],
    }


def _job_spec(values: Values, entrypoint: str) -> Manifest:
    return {
        "entrypoint": entrypoint,
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": 600,
        "backoffLimit": 2,
        "rayClusterSpec": cluster_spec(values),
    }


def _head(values: Values) -> Manifest:
    pod = _pod(values, "ray-head", values.head_cpus, values.head_memory_gib, 0)
    ports = {"gcs-server": 6379, "dashboard": 8265, "metrics": 8080}
    pod["spec"]["containers"][0]["ports"] = [{"name": name, "containerPort": port} for name, port in ports.items()]
    return {
        "serviceType": "ClusterIP",
        "labels": {ROLE: "head", MARKET: "on-demand"},
        "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},  # reached through its Service, with the token
        "template": pod,
    }


def _workers(values: Values, group: str, fewest: int, most: int, gpus: int) -> Manifest:
    role, spot = ("train" if gpus else "data"), group.endswith("spot")
    cpus = values.train_cpus if gpus else values.data_cpus
    pod = _pod(values, "ray-worker", cpus, values.train_memory_gib if gpus else values.data_memory_gib, gpus)
    pod["spec"]["tolerations"] = ([GPU_TAINT] if gpus else []) + ([SPOT_TAINT] if spot else [])
    if spot:
        pod["spec"]["nodeSelector"] = {"rayox.io/spot": "true"}
    return {
        "groupName": group,
        "replicas": fewest,
        "minReplicas": fewest,
        "maxReplicas": most,
        "labels": {ROLE: role, MARKET: "spot" if spot else "on-demand"},
        "rayStartParams": {},
        "template": pod,
    }


def _pod(values: Values, container: str, cpus: float, memory_gib: int, gpus: int) -> dict[str, Any]:
    storage = variables(RAYOX_STORAGE=values.storage, MLFLOW_TRACKING_URI=values.tracking_uri)
    return {
        "spec": {
            "terminationGracePeriodSeconds": SAVE_SECONDS,
            "securityContext": {"fsGroup": 1000},
            "containers": [
                {
                    "name": container,
                    "image": values.image,
                    "env": [*storage, *store_variables(values), *variables(RAY_USAGE_STATS_ENABLED="0")],
                    "resources": resources(cpus, memory_gib, gpus),
                    "securityContext": SECURITY,
                    "volumeMounts": [
                        {"name": "shm", "mountPath": "/dev/shm"},
                        {"name": "ray", "mountPath": "/tmp/ray"},
                    ],
                }
            ],
            "volumes": [
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{values.shared_memory_gib}Gi"}},
                {"name": "ray", "emptyDir": {}},
            ],
        }
    }


def _metadata(values: Values) -> Manifest:
    return {"name": values.name, "namespace": values.namespace}
