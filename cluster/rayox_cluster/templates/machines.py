"""Ray's cluster launcher on machines of a cloud: `ray up FILE`, with the same kinds of nodes as on Kubernetes."""

from collections.abc import Mapping

from rayox_cluster.templates.kuberay import MARKET, ROLE
from rayox_cluster.templates.pods import Manifest
from rayox_cluster.templates.values import Values

TOKEN = "/home/ray/.ray/auth_token"
ENVIRONMENT = "/home/ray/rayox.env"
NEEDED = (
    f"export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={TOKEN} RAY_USAGE_STATS_ENABLED=0; set -a; . {ENVIRONMENT}; set +a"
)
AWS_MACHINES = ("m6i.large", "c6i.2xlarge", "g5.2xlarge")  # head, data, train
GCP_MACHINES = ("n2-standard-2", "n2-standard-8", "g2-standard-8")
GCP_IMAGE = "projects/deeplearning-platform-release/global/images/family/common-cu128-ubuntu-2204-nvidia-570"
Nodes = Mapping[str, Manifest]


def aws(values: Values) -> list[Manifest]:
    """Machines of Amazon's EC2; their role (an instance profile) lets them at the bucket, so no key is written down."""
    head, data, train = _machines(values, AWS_MACHINES)
    spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
    nodes = {
        "head": _node(_ec2(values, head), {ROLE: "head", MARKET: "on-demand"}, 0, 0, {"CPU": 0}),
        "data": _node(
            _ec2(values, data), {ROLE: "data", MARKET: "on-demand"}, values.data_nodes, values.data_nodes_most
        ),
        "train": _node(
            _ec2(values, train), {ROLE: "train", MARKET: "on-demand"}, values.train_nodes, values.train_nodes_most
        ),
        "train-spot": _node(_ec2(values, train) | spot, {ROLE: "train", MARKET: "spot"}, 0, values.spot_nodes_most),
    }
    return [_launcher(values, {"type": "aws", "region": values.region, "cache_stopped_nodes": False}, "ubuntu", nodes)]


def gcp(values: Values) -> list[Manifest]:
    """Machines of Google's Compute Engine; their service account lets them at the bucket."""
    head, data, train = _machines(values, GCP_MACHINES)
    spot = {
        "scheduling": {
            "provisioningModel": "SPOT",
            "instanceTerminationAction": "DELETE",
            "onHostMaintenance": "TERMINATE",
        }
    }
    gpu = {"scheduling": {"onHostMaintenance": "TERMINATE"}}
    nodes = {
        "head": _node(_gce(values, head), {ROLE: "head", MARKET: "on-demand"}, 0, 0, {"CPU": 0}),
        "data": _node(
            _gce(values, data),
            {ROLE: "data", MARKET: "on-demand"},
            values.data_nodes,
            values.data_nodes_most,
            {"CPU": values.data_cpus},
        ),
        "train": _node(
            _gce(values, train) | gpu,
            {ROLE: "train", MARKET: "on-demand"},
            values.train_nodes,
            values.train_nodes_most,
            _gpus(values),
        ),
        "train-spot": _node(
            _gce(values, train) | spot, {ROLE: "train", MARKET: "spot"}, 0, values.spot_nodes_most, _gpus(values)
        ),
    }
    provider = {
        "type": "gcp",
        "region": values.zone.rpartition("-")[0],
        "availability_zone": values.zone,
        "project_id": values.project,
    }
    return [_launcher(values, provider, "ubuntu", nodes)]


def _launcher(values: Values, provider: Manifest, user: str, nodes: Nodes) -> Manifest:
    start = f"{NEEDED}; ulimit -n 65536; ray start"
    return {
        "cluster_name": values.name,
        "max_workers": values.nodes - 1,
        "idle_timeout_minutes": values.idle_minutes,
        "provider": provider,
        "auth": {"ssh_user": user},
        "docker": {
            "image": values.image,
            "container_name": values.name,
            "run_options": [f"--shm-size={values.shared_memory_gib}g", "--ulimit nofile=65536:65536"],
        },
        # Files of the user's own machine: the token, and MLflow's address with what else the nodes are to have.
        "file_mounts": {TOKEN: "~/.ray/auth_token", ENVIRONMENT: "./rayox.env"},
        "head_node_type": "head",
        "available_node_types": dict(nodes),
        "head_start_ray_commands": [
            "ray stop",
            f"{start} --head --port=6379 --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml",
        ],
        "worker_start_ray_commands": ["ray stop", f"{start} --address=$RAY_HEAD_IP:6379"],
    }


def _node(
    config: Manifest, labels: Mapping[str, str], fewest: int, most: int, resources: Manifest | None = None
) -> Manifest:
    return {
        "node_config": config,
        "labels": dict(labels),
        "resources": resources or {},  # empty: as the cloud says of the machine
        "min_workers": fewest,
        "max_workers": most,
    }


def _machines(values: Values, usual: tuple[str, str, str]) -> tuple[str, str, str]:
    train = usual[2] if values.gpus_per_node else usual[1]
    return values.head_machine or usual[0], values.data_machine or usual[1], values.train_machine or train


def _ec2(values: Values, machine: str) -> Manifest:
    disk = {"VolumeSize": values.disk_gib, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    return {
        "InstanceType": machine,
        "IamInstanceProfile": {"Name": f"{values.name}-node"},
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
    }


def _gce(values: Values, machine: str) -> Manifest:
    source = {"diskSizeGb": values.disk_gib, "sourceImage": GCP_IMAGE}
    return {
        "machineType": machine,
        "disks": [{"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": source}],
    }


def _gpus(values: Values) -> Manifest:
    return {"CPU": values.train_cpus, "GPU": values.gpus_per_node}
