"""What stands beside Ray: MLflow with PostgreSQL, an S3-compatible store, and the store of the head's state."""

from rayox_cluster.templates.pods import (
    SECURITY,
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
VALKEY_COMMAND = """\
exec valkey-server - --dir /data --appendonly yes <<END
requirepass "$VALKEY_PASSWORD"
END
"""
POSTGRES_PORT, STORE_PORT, VALKEY_PORT, MLFLOW_PORT = 5432, 8333, 6379, 5000


def beside_ray(values: Values) -> list[Manifest]:
    """Every service with its own Service; passwords and keys are those of secrets that the user makes.

    MLflow or a store that the user has elsewhere is left out.
    """
    name, space = values.name, values.namespace
    database = [
        stateful(name, space, "database", _database(values), 20, "/var/lib/postgresql/data"),
        service(name, space, "database", POSTGRES_PORT),
    ]
    head_state = [
        stateful(name, space, "gcs", _head_state(values), 10, "/data"),
        service(name, space, "gcs", VALKEY_PORT),
    ]
    mlflow = [_mlflow(values), service(name, space, "mlflow", MLFLOW_PORT)]
    store = [
        stateful(name, space, "store", _store(values), 500, "/data"),
        service(name, space, "store", STORE_PORT),
    ]
    has_mlflow, has_store = values.tracking_uri is not None, values.store_endpoint is not None
    return [
        *([] if has_mlflow else database),
        *head_state,
        *([] if has_mlflow else mlflow),
        *([] if has_store else store),
    ]


def tracking_uri(values: Values) -> str:
    own = f"http://{values.beside('mlflow')}:{MLFLOW_PORT}"
    return own if values.tracking_uri is None else values.tracking_uri


def store_endpoint(values: Values) -> str:
    """Empty for the cloud's own store, which nodes reach by their role."""
    own = f"http://{values.beside('store')}:{STORE_PORT}"
    return own if values.store_endpoint is None else values.store_endpoint


def store_variables(values: Values) -> list[Manifest]:
    """How Ray's nodes and MLflow reach runs and artifacts."""
    endpoint = store_endpoint(values)
    if not endpoint:
        return variables(AWS_REGION=values.region)
    return _store_keys(values) + variables(AWS_ENDPOINT_URL=endpoint, AWS_REGION=values.region)


def _store_keys(values: Values) -> list[Manifest]:
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return [secret_variable(key, values.beside("store"), key) for key in keys]


def _database_keys(values: Values) -> list[Manifest]:
    keys = ("POSTGRES_USER", "POSTGRES_PASSWORD")
    return [secret_variable(key, values.beside("database"), key) for key in keys]


def _database(values: Values) -> Manifest:
    ready = command_probe(["pg_isready", "-h", "127.0.0.1"])
    return {
        "image": POSTGRES,
        "env": _database_keys(values) + variables(POSTGRES_DB="mlflow", PGDATA="/var/lib/postgresql/data/mlflow"),
        "ports": [{"containerPort": POSTGRES_PORT}],
        "resources": resources(1, 2),
        "readinessProbe": ready,
        "livenessProbe": ready,
    }


def _head_state(values: Values) -> Manifest:
    """Valkey: what Ray's head knows outlives the head. Its password is in no command line, which all processes see."""
    ready = command_probe(["valkey-cli", "ping"])
    return {
        "image": VALKEY,
        "command": ["sh", "-c", VALKEY_COMMAND],
        "env": [secret_variable("VALKEY_PASSWORD", values.beside("gcs"), "password")],
        "ports": [{"containerPort": VALKEY_PORT}],
        "resources": resources(0.5, 1),
        "readinessProbe": ready,
        "livenessProbe": ready,
    }


def _store(values: Values) -> Manifest:
    """SeaweedFS with its S3 gateway; the keys come from the environment, so nobody else gets in."""
    return {
        "image": STORE,
        "args": ["server", "-dir=/data", "-s3", f"-s3.port={STORE_PORT}", "-volume.max=0"],
        "env": _store_keys(values),
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
            *_database_keys(values),
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
