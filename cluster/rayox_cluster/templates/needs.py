"""What has to be there before a manifest is used, and how it is used: the lines at its head."""

import shlex
from collections.abc import Callable, Mapping

from rayox_cluster.templates.services import store_endpoint
from rayox_cluster.templates.values import Values

APPLY = "kubectl apply -f FILE"


def needs(kind: str, values: Values) -> list[str]:
    return NEEDS[kind](values)


def _cluster(values: Values) -> list[str]:
    if values.services:
        return [f"the services and secrets of rayox cluster template kuberay name={values.services}", APPLY]
    keys = "--from-literal=AWS_ACCESS_KEY_ID=… --from-literal=AWS_SECRET_ACCESS_KEY=…"
    user = "--from-literal=POSTGRES_USER=… --from-literal=POSTGRES_PASSWORD=…"
    made = [
        *([_secret(values, "store", keys)] if store_endpoint(values) else []),
        *([_secret(values, "database", user)] if values.tracking_uri is None else []),
        _secret(values, "gcs", "--from-literal=password=…"),
        "  (passwords of letters and digits: they become parts of addresses)",
    ]
    if values.store_endpoint is None:  # MLflow's pod has the store's address and keys
        inside = "" if values.tracking_uri else f"kubectl exec{_space(values)} deploy/{values.name}-mlflow --"
        return [*made, APPLY, *_bucket(values, inside)]
    return [*made, APPLY]


def _job(values: Values) -> list[str]:
    queue = f"Kueue with the RayJob integration, and its LocalQueue {values.queue} in this namespace"
    return [
        *([queue] if values.queue else []),
        *_of_a_training(values),
        "a job that is tried again goes on with its run; another training needs another name=…",
        APPLY,
    ]


def _cron_job(values: Values) -> list[str]:
    champion = f"models:/{values.promote_to}@champion"
    return [
        "KubeRay's feature gate RayCronJob",
        *_of_a_training(values),
        f"the key that signs {champion}; who uses it names key.pub in promotion.trusted_keys:",
        "  openssl ecparam -name prime256v1 -genkey -noout -out key.pem; openssl ec -in key.pem -pubout -out key.pub",
        "  " + _secret(values, "promotion", "--from-file=key.pem --from-file=key.pub"),
        APPLY,
    ]


def _of_a_training(values: Values) -> list[str]:
    beside = values.services or values.name
    files = [values.annotations, values.images, values.val_annotations, values.val_images]
    weights = [f"the weights that {values.recipe} starts from: {values.weights}"]
    if values.weights.startswith("/"):
        weights.append(
            "  in the image (the dockerfile template has a line for them), or init=s3://…/checkpoints/step-…"
        )
    return [
        f"the services and secrets of the kuberay template with name={beside} (services=… names another one)",
        "your own data: annotations=… images=… val_annotations=… val_images=…, which are now",
        *(f"  {file}" for file in dict.fromkeys(files)),
        *(weights if values.weights else []),
        f"{_nodes(values)} (train_nodes=N for more)",
    ]


def _nodes(values: Values) -> str:
    gpus = values.train_nodes * values.gpus_per_node
    with_what = f"with {_count(gpus, 'GPU')} in all" if gpus else "without GPUs"
    return f"{_count(values.train_nodes, 'node')} {with_what} for {_count(values.num_workers, 'worker')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _launcher(where: str) -> Callable[[Values], list[str]]:
    def lines(values: Values) -> list[str]:
        return [
            "a bucket and an MLflow server of your own: this starts neither",
            "beside this file: rayox.env with RAYOX_STORAGE=… and MLFLOW_TRACKING_URI=…, which name them to the nodes",
            "  (and what else those are to know)",
            f"{where.format(name=values.name)} that may read and write the bucket",
            "ray get-auth-token --generate     # makes ~/.ray/auth_token, which the nodes get",
            "ray up FILE; ray dashboard FILE   # a tunnel to the dashboard, which listens on the head's loopback alone",
        ]

    return lines


def _compose(values: Values) -> list[str]:
    return [
        "beside this file: .env with POSTGRES_USER, POSTGRES_PASSWORD, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        'python -c "import secrets; print(secrets.token_hex(32))" > ray-token',
        "docker compose up -d; RAY_AUTH_TOKEN_PATH=ray-token rayox doctor --address http://127.0.0.1:8265",
        *_bucket(values, "docker compose exec mlflow"),
    ]


def _bucket(values: Values, inside: str) -> list[str]:
    """How the bucket of a store that the manifest starts is made; inside: what runs a command where that is reached."""
    if not values.storage.startswith("s3://"):
        return []
    name = values.storage.split("/")[2]
    code = f"import boto3; boto3.client('s3').create_bucket(Bucket='{name}')"
    made = [f'  {inside} python -c "{code}"'] if inside else []
    return [f"the bucket {name}, once the store runs{':' if made else ''}", *made]


def _secret(values: Values, part: str, literals: str) -> str:
    return f"kubectl create secret generic {values.beside(part)}{_space(values)} {literals}"


def _space(values: Values) -> str:
    return "" if values.namespace == "default" else f" --namespace {shlex.quote(values.namespace)}"


NEEDS: Mapping[str, Callable[[Values], list[str]]] = {
    "kuberay": _cluster,
    "kuberay-job": _job,
    "kuberay-cron": _cron_job,
    "aws": _launcher("an instance profile {name}-node for the machines,"),
    "gcp": _launcher("a service account for the machines,"),
    "compose": _compose,
    "dockerfile": lambda values: ["docker build -t IMAGE -f FILE ."],
}
