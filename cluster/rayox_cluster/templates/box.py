"""One machine with Docker: a head, a data node and a training node as containers, and the image of all of them."""

from importlib.metadata import version

from rayox_cluster.templates.kuberay import MARKET, ROLE
from rayox_cluster.templates.pods import Manifest
from rayox_cluster.templates.services import POSTGRES, STORE, STORE_PORT
from rayox_cluster.templates.values import WEIGHTS, Values

STORE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def compose(values: Values) -> list[Manifest]:
    """Nothing is published beyond loopback; secrets come from a file .env that is not part of this."""
    nodes = {
        "head": _ray(values, "head", values.head_cpus, values.head_memory_gib, _head_command()),
        "data": _ray(values, "data", values.data_cpus, values.data_memory_gib, _node_command("data")),
        "train": _ray(values, "train", values.train_cpus, values.train_memory_gib, _node_command("train")),
    }
    nodes["head"]["ports"] = ["127.0.0.1:8265:8265"]
    nodes["head"]["healthcheck"] = _check("ray health-check --address head:6379")
    for name in ("data", "train"):
        nodes[name]["depends_on"] = {"head": {"condition": "service_healthy"}}
    if values.gpus_per_node:
        devices = [{"driver": "nvidia", "count": values.gpus_per_node, "capabilities": ["gpu"]}]
        nodes["train"]["deploy"]["resources"]["reservations"] = {"devices": devices}
    services = nodes | {"database": _database(), "store": _store(), "mlflow": _mlflow(values)}
    volumes: Manifest = {"database": {}, "store": {}}
    secrets = {"ray-token": {"file": "./ray-token"}}
    return [{"name": values.name, "services": services, "volumes": volumes, "secrets": secrets}]


def dockerfile(values: Values) -> str:
    """The image of all nodes and of MLflow."""
    wheel = f"rayox-{version('rayox')}-py3-none-any.whl"
    return f"""\
FROM rayproject/ray:{values.ray_version}-py311-gpu
# From this folder: the wheel, as `uv build --wheel` makes it, and requirements.lock, the versions that are tested.
COPY --chown=ray:users {wheel} requirements.lock /tmp/
# The last two are what MLflow needs for PostgreSQL and for its own access to a bucket.
RUN pip install --no-cache-dir --constraint /tmp/requirements.lock /tmp/{wheel} psycopg2-binary boto3
# The weights that jobs start from (their value init):
# COPY --chown=ray:users weights.pth {WEIGHTS}
ENV RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true
USER 1000
WORKDIR /home/ray
"""


def _ray(values: Values, role: str, cpus: int, memory_gib: int, command: str) -> Manifest:
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": "/run/secrets/ray-token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAYOX_STORAGE": values.storage,
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "AWS_ENDPOINT_URL": f"http://store:{STORE_PORT}",
        "AWS_REGION": values.region,
    } | _from_env_file(*STORE_KEYS)
    return {
        "image": values.image,
        "hostname": role,
        "command": ["sh", "-c", f"exec {command} --num-cpus {0 if role == 'head' else cpus}"],
        "environment": environment,
        "secrets": ["ray-token"],
        "shm_size": f"{values.shared_memory_gib}g",
        "restart": "unless-stopped",
        "stop_grace_period": "2m",
        "deploy": {"resources": {"limits": {"cpus": str(cpus), "memory": f"{memory_gib}g"}}},
    }


def _head_command() -> str:
    """The dashboard listens in the container; what of it leaves the machine is for `ports` to say."""
    options = "--head --block --port 6379 --dashboard-host 0.0.0.0 --disable-usage-stats"
    return f"ray start {options} --labels {ROLE}=head,{MARKET}=on-demand"


def _node_command(role: str) -> str:
    return f"ray start --address head:6379 --block --disable-usage-stats --labels {ROLE}={role},{MARKET}=on-demand"


def _database() -> Manifest:
    return {
        "image": POSTGRES,
        "environment": {"POSTGRES_DB": "mlflow"} | _from_env_file("POSTGRES_USER", "POSTGRES_PASSWORD"),
        "volumes": ["database:/var/lib/postgresql/data"],
        "restart": "unless-stopped",
        "healthcheck": _check("pg_isready -h 127.0.0.1"),
        "deploy": {"resources": {"limits": {"cpus": "1", "memory": "2g"}}},
    }


def _store() -> Manifest:
    return {
        "image": STORE,
        "command": ["server", "-dir=/data", "-s3", f"-s3.port={STORE_PORT}", "-volume.max=0"],
        "environment": _from_env_file(*STORE_KEYS),
        "volumes": ["store:/data"],
        "restart": "unless-stopped",
        "healthcheck": _check(f"wget -q -O /dev/null http://127.0.0.1:{STORE_PORT}/healthz"),
        "deploy": {"resources": {"limits": {"cpus": "2", "memory": "4g"}}},
    }


def _mlflow(values: Values) -> Manifest:
    artifacts = f"{values.storage.rpartition('/')[0] or values.storage}/mlflow"
    user, password = "${POSTGRES_USER:?}", "${POSTGRES_PASSWORD:?}"
    environment = {
        "MLFLOW_BACKEND_STORE_URI": f"postgresql://{user}:{password}@database:5432/mlflow",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "AWS_ENDPOINT_URL": f"http://store:{STORE_PORT}",
        "AWS_REGION": values.region,
    } | _from_env_file(*STORE_KEYS)
    return {
        "image": values.image,
        "command": [
            *("mlflow", "server", "--host", "0.0.0.0", "--port", "5000"),
            *(
                "--artifacts-destination",
                artifacts,
                "--allowed-hosts",
                "mlflow,mlflow:5000,127.0.0.1:5000,localhost:5000",
            ),
        ],
        "environment": environment,
        "ports": ["127.0.0.1:5000:5000"],
        "depends_on": {"database": {"condition": "service_healthy"}, "store": {"condition": "service_healthy"}},
        "restart": "unless-stopped",
        "healthcheck": _check("python -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:5000/health\")'"),
        "deploy": {"resources": {"limits": {"cpus": "1", "memory": "4g"}}},
    }


def _from_env_file(*names: str) -> dict[str, str]:
    """Refused by compose when the user has not set them."""
    return {name: f"${{{name}:?}}" for name in names}


def _check(command: str) -> Manifest:
    return {"test": ["CMD-SHELL", command], "interval": "10s", "timeout": "10s", "retries": 6, "start_period": "60s"}
