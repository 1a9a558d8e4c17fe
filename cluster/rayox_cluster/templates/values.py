"""What a template asks its user for: values as key=value, all with a default, none of them a secret."""

from dataclasses import dataclass
from importlib.metadata import version

WEIGHTS = "/home/ray/weights.pth"  # in the image


@dataclass(frozen=True)
class Values:
    """The values of every kind of template; a kind uses those it needs."""

    name: str = "rayox"  # of the cluster, and in front of those of its services and secrets
    services: str = ""  # name of the kuberay template whose services are used; by default those of the same name
    namespace: str = "default"
    image: str = f"rayox:{version('rayox')}"  # with rayox and Ray, as the dockerfile template makes it
    ray_version: str = version("ray")
    storage: str = "s3://rayox/runs"
    store_endpoint: str | None = None  # of an S3-compatible store; that beside the cluster, or empty: the cloud's own
    tracking_uri: str | None = None  # of MLflow; that beside the cluster
    head_cpus: int = 2
    head_memory_gib: int = 8
    data_nodes: int = 1  # CPU nodes that read and augment; there are always so many
    data_nodes_most: int = 8
    data_cpus: int = 8
    data_memory_gib: int = 16
    train_nodes: int = 1  # GPU nodes; there are always so many, as a run whose labels no node has is refused
    train_nodes_most: int = 4
    spot_nodes_most: int = 8  # GPU nodes that may be taken away at any time
    gpus_per_node: int = 1
    train_cpus: int = 8
    train_memory_gib: int = 32
    shared_memory_gib: int = 8  # /dev/shm, where Ray's object store is
    idle_minutes: int = 10  # after which a node that nobody uses goes
    recipe: str = "finetune"
    init: str | None = None  # model.init: weights in the image or s3://…/checkpoints/step-…; finetune's are WEIGHTS
    annotations: str = "s3://rayox/data/train.json"
    images: str = "s3://rayox/data/images"
    val_annotations: str = "s3://rayox/data/val.json"
    val_images: str = "s3://rayox/data/images"
    workers: int | None = None  # by default one for each GPU of the train_nodes, or for each of them without GPUs
    promote_to: str = "detector"  # registered model that a nightly run competes for
    schedule: str = "0 2 * * *"
    queue: str = ""  # Kueue's LocalQueue that a kuberay-job waits in
    priority: str = ""  # and its WorkloadPriorityClass
    region: str = "eu-central-1"
    project: str = "my-project"  # of Google's cloud
    zone: str = "europe-west4-a"
    head_machine: str = ""  # by default one of the cloud with about head_cpus
    data_machine: str = ""
    train_machine: str = ""
    disk_gib: int = 200

    @property
    def nodes(self) -> int:
        return 1 + self.data_nodes_most + self.train_nodes_most + self.spot_nodes_most

    def beside(self, part: str) -> str:
        """The name of a service, and of the secret with what it needs."""
        return f"{self.services or self.name}-{part}"

    @property
    def num_workers(self) -> int:
        return self.workers if self.workers is not None else self.train_nodes * max(self.gpus_per_node, 1)

    @property
    def weights(self) -> str:
        """What training starts from; empty for the recipe's own choice."""
        if self.init is not None:
            return self.init
        return WEIGHTS if self.recipe == "finetune" else ""
