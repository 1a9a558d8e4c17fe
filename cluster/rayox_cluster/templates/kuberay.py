"""KubeRay's RayCluster: a head, CPU nodes for data, GPU nodes for training, and spot ones."""

from typing import Any

from rayox_cluster.templates.pods import SECURITY, Manifest, resources, variables
from rayox_cluster.templates.services import VALKEY_PORT, beside_ray, store_variables, tracking_uri
from rayox_cluster.templates.values import Values

ROLE = "rayox.io/role"  # head, data, train: what data.nodes and train.nodes select by
MARKET = "ray.io/market-type"
SPOT_TAINT = {"key": "rayox.io/spot", "operator": "Exists", "effect": "NoSchedule"}
GPU_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
SAVE_SECONDS = 120  # between the notice that a node goes and its end


def ray_cluster(values: Values) -> list[Manifest]:
    """A cluster that stays, with everything it needs beside it, if that is not there already."""
    beside = [] if values.services else beside_ray(values)
    return [*beside, ray_resource("RayCluster", values, cluster_spec(values))]


def ray_resource(kind: str, values: Values, spec: Manifest) -> Manifest:
    return {"apiVersion": "ray.io/v1", "kind": kind, "metadata": metadata(values), "spec": spec}


def metadata(values: Values) -> Manifest:
    return {"name": values.name, "namespace": values.namespace}


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
            "redisAddress": f"redis://{values.beside('gcs')}:{VALKEY_PORT}",
            "redisPassword": {"valueFrom": {"secretKeyRef": {"name": values.beside("gcs"), "key": "password"}}},
        },
        "headGroupSpec": _head(values),
        "workerGroupSpecs": [
            _data_nodes(values),
            _train_nodes(values, "train", values.train_nodes, values.train_nodes_most, spot=False),
            _train_nodes(values, "train-spot", 0, values.spot_nodes_most, spot=True),
        ],
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


def _data_nodes(values: Values) -> Manifest:
    pod = _pod(values, "ray-worker", values.data_cpus, values.data_memory_gib, 0)
    labels = {ROLE: "data", MARKET: "on-demand"}
    return _group("data", values.data_nodes, values.data_nodes_most, labels, pod)


def _train_nodes(values: Values, group: str, fewest: int, most: int, *, spot: bool) -> Manifest:
    """Nodes for workers, with GPUs or without."""
    pod = _pod(values, "ray-worker", values.train_cpus, values.train_memory_gib, values.gpus_per_node)
    pod["spec"]["tolerations"] = ([GPU_TAINT] if values.gpus_per_node else []) + ([SPOT_TAINT] if spot else [])
    if spot:
        pod["spec"]["nodeSelector"] = {"rayox.io/spot": "true"}
    return _group(group, fewest, most, {ROLE: "train", MARKET: "spot" if spot else "on-demand"}, pod)


def _group(name: str, fewest: int, most: int, labels: Manifest, pod: Manifest) -> Manifest:
    return {
        "groupName": name,
        "replicas": fewest,
        "minReplicas": fewest,
        "maxReplicas": most,
        "labels": labels,
        "rayStartParams": {},
        "template": pod,
    }


def _pod(values: Values, container: str, cpus: float, memory_gib: int, gpus: int) -> dict[str, Any]:
    storage = variables(RAYOX_STORAGE=values.storage, MLFLOW_TRACKING_URI=tracking_uri(values))
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
