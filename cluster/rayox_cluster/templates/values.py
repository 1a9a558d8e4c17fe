"""What a template asks its user for: values as key=value, all with a default, none of them a secret."""

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from rayox_model.core.errors import ConfigError


@dataclass(frozen=True)
class Values:
    """The values of every kind of template; a kind uses those it needs."""

    name: str = "rayox"  # of the cluster
    namespace: str = "default"
    image: str = f"rayox:{version('rayox')}"  # with rayox and Ray, as the dockerfile template makes it
    ray_version: str = version("ray")
    storage: str = "s3://rayox/runs"
    store_endpoint: str = "http://rayox-store:8333"  # of an S3-compatible store; empty for the cloud's own
    tracking_uri: str = "http://rayox-mlflow:5000"
    head_cpus: int = 2
    head_memory_gib: int = 8
    data_nodes: int = 1  # CPU nodes that read and augment; there are always so many
    data_nodes_most: int = 8
    data_cpus: int = 8
    data_memory_gib: int = 16
    train_nodes: int = 0  # GPU nodes
    train_nodes_most: int = 4
    spot_nodes_most: int = 8  # GPU nodes that may be taken away at any time
    gpus_per_node: int = 1
    train_cpus: int = 8
    train_memory_gib: int = 32
    shared_memory_gib: int = 8  # /dev/shm, where Ray's object store is
    idle_minutes: int = 10  # after which a node that nobody uses goes
    recipe: str = "finetune"
    annotations: str = "s3://rayox/data/train.json"
    images: str = "s3://rayox/data/images"
    val_annotations: str = "s3://rayox/data/val.json"
    val_images: str = "s3://rayox/data/images"
    workers: int = 2
    promote_to: str = "detector"  # registered model that a nightly run competes for
    schedule: str = "0 2 * * *"
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


def read_values(words: Sequence[str]) -> Values:
    """From key=value. Raises ConfigError with everything that is wrong with them."""
    fields = {field.name: field for field in dataclasses.fields(Values)}
    found: dict[str, object] = {}
    wrong = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            wrong.append(f"{word!r} is not key=value")
        elif key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            wrong.append(f"{key}: no such value" + (f"; did you mean {near[0]}?" if near else ""))
        elif fields[key].type is int or fields[key].type == "int":
            if text.isdigit():
                found[key] = int(text)
            else:
                wrong.append(f"{key}: {text!r} is not a whole number ≥ 0")
        elif not text.isprintable():
            wrong.append(f"{key}: {text!r} has a character that cannot be printed")
        else:
            found[key] = text
    if wrong:
        raise ConfigError("\n".join(wrong), f"these can be set: {', '.join(fields)}")
    return dataclasses.replace(Values(), **found)  # type: ignore[arg-type]
