"""Pods of Kubernetes as the other manifests use them: resources, probes, secrets by reference, no root."""

from typing import Any

Manifest = dict[str, Any]

USER = 1000

SECURITY = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": USER,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def resources(cpus: float, memory_gib: float, gpus: int = 0) -> Manifest:
    """What a container asks for, which is also the most it gets."""
    wanted: Manifest = {"cpu": str(cpus), "memory": f"{memory_gib:g}Gi"}
    if gpus:
        wanted["nvidia.com/gpu"] = str(gpus)
    return {"requests": wanted, "limits": dict(wanted)}


def secret_variable(name: str, secret: str, key: str) -> Manifest:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def variables(**values: str) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in values.items()]


def http_probe(path: str, port: int) -> Manifest:
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5}


def command_probe(command: list[str]) -> Manifest:
    return {"exec": {"command": command}, "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5}


def labels(name: str, part: str) -> Manifest:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/component": part}


def service(name: str, namespace: str, part: str, port: int) -> Manifest:
    """Reachable inside the cluster only."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{name}-{part}", "namespace": namespace, "labels": labels(name, part)},
        "spec": {"type": "ClusterIP", "selector": labels(name, part), "ports": [{"port": port, "targetPort": port}]},
    }


def stateful(name: str, namespace: str, part: str, container: Manifest, size_gib: int, mount: str) -> Manifest:
    """One replica with a disk that outlives it."""
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": f"{size_gib}Gi"}},
        },
    }
    container = {"name": part, "securityContext": SECURITY, **container}
    container["volumeMounts"] = [{"name": "data", "mountPath": mount}]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": f"{name}-{part}", "namespace": namespace, "labels": labels(name, part)},
        "spec": {
            "serviceName": f"{name}-{part}",
            "replicas": 1,
            "selector": {"matchLabels": labels(name, part)},
            "template": {
                "metadata": {"labels": labels(name, part)},
                "spec": {"securityContext": {"fsGroup": USER}, "containers": [container]},
            },
            "volumeClaimTemplates": [claim],
        },
    }
