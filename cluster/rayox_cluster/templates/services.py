"""What stands beside Ray: MLflow with PostgreSQL, an S3-compatible store, and the store of the head's state."""

from rayox_cluster.templates.pods import (
    DATABASE_SECRET,
    GCS_SECRET,
    SECURITY,
    STORE_SECRET,
    Manifest,
    command_probe,
    http_probe,
    labels,
    resources,
    secret_variable,
    service,
    stateful,
    variables,
)
from rayox_cluster.templates.values import Values

POSTGRES, STORE, VALKEY = "postgres:17-bookworm", "chrislusf/seaweedfs:3.97", "valkey/valkey:8.1"
POSTGRES_PORT, STORE_PORT, VALKEY_PORT, MLFLOW_PORT = 5432, 8333, 6379, 5000


def beside_ray(values: Values) -> list[Manifest]:
    """Every service with its own Service; passwords and keys are those of secrets that the user makes."""
    name, space = values.name, values.namespace
    parts = [
        stateful(name, space, "database", _database(), 20, "/var/lib/postgresql/data"),
        service(name, space, "database", POSTGRES_PORT),
        stateful(name, space, "gcs", _head_state(), 10, "/data"),
        service(name, space, "gcs", VALKEY_PORT),
        _mlflow(values),
        service(name, space, "mlflow", MLFLOW_PORT),
    ]
    if values.store_endpoint:
        parts += [
            stateful(name, space, "store", _store(), 500, "/data"),
            service(name, space, "store", STORE_PORT),
        ]
    return parts


def store_variables(values: Values) -> list[Manifest]:
    """How Ray's nodes and MLflow reach runs and artifacts."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    found = [secret_variable(key, STORE_SECRET, key) for key in keys] if values.store_endpoint else []
    endpoint = {"AWS_ENDPOINT_URL": values.store_endpoint} if values.store_endpoint else {}
    return found + variables(**endpoint, AWS_REGION=values.region)


def _database() -> Manifest:
    keys = ("POSTGRES_USER", "POSTGRES_PASSWORD")
    ready = command_probe(["pg_isready", "-h", "127.0.0.1"])
    return {
        "image": POSTGRES,
        "env": [secret_variable(key, DATABASE_SECRET, key) for key in keys]
        + variables(POSTGRES_DB="mlflow", PGDATA="/var/lib/postgresql/data/mlflow"),
        "ports": [{"containerPort": POSTGRES_PORT}],
        "resources": resources(1, 2),
        "readinessProbe": ready,
        "livenessProbe": ready,
    }


def _head_state() -> Manifest:
    """Valkey: what Ray's head knows outlives the head."""
    ready = command_probe(["valkey-cli", "ping"])
    return {
        "image": VALKEY,
        "command": ["sh", "-c", 'exec valkey-server --requirepass "$VALKEY_PASSWORD" --dir /data --appendonly yes'],
        "env": [secret_variable("VALKEY_PASSWORD", GCS_SECRET, "password")],
        "ports": [{"containerPort": VALKEY_PORT}],
        "resources": resources(0.5, 1),
        "readinessProbe": ready,
        "livenessProbe": ready,
    }


def _store() -> Manifest:
    """SeaweedFS with its S3 gateway; the keys come from the environment, so nobody else gets in."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return {
        "image": STORE,
        "args": ["server", "-dir=/data", "-s3", f"-s3.port={STORE_PORT}", "-volume.max=0"],
        "env": [secret_variable(key, STORE_SECRET, key) for key in keys],
        "ports": [{"containerPort": STORE_PORT}],
        "resources": resources(2, 4),
        "readinessProbe": http_probe("/healthz", STORE_PORT),
        "livenessProbe": http_probe("/healthz", STORE_PORT),
    }


def _mlflow(values: Values) -> Manifest:
    name = values.name
    address = f"postgresql://$(POSTGRES_USER):$(POSTGRES_PASSWORD)@{name}-database:{POSTGRES_PORT}/mlflow"
    artifacts = f"{values.storage.rpartition('/')[0] or values.storage}/mlflow"
    container = {
        "name": "mlflow",
        "image": values.image,
        "command": ["mlflow", "server", "--host", "0.0.0.0", "--port", str(MLFLOW_PORT)],
        "args": ["--artifacts-destination", artifacts, "--allowed-hosts", f"{name}-mlflow,{name}-mlflow:{MLFLOW_PORT}"],
        "env": [
            *(secret_variable(key, DATABASE_SECRET, key) for key in ("POSTGRES_USER", "POSTGRES_PASSWORD")),
            *variables(MLFLOW_BACKEND_STORE_URI=address, MLFLOW_DISABLE_TELEMETRY="true"),
            *store_variables(values),
        ],
        "ports": [{"containerPort": MLFLOW_PORT}],
        "resources": resources(1, 4),
        "readinessProbe": http_probe("/health", MLFLOW_PORT),
        "livenessProbe": http_probe("/health", MLFLOW_PORT),
        "securityContext": SECURITY,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{name}-mlflow", "namespace": values.namespace, "labels": labels(name, "mlflow")},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels(name, "mlflow")},
            "template": {"metadata": {"labels": labels(name, "mlflow")}, "spec": {"containers": [container]}},
        },
    }
