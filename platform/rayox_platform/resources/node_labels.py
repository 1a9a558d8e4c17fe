"""Which machines a part of a training may run on: label selectors as a setting and what they leave of a cluster."""

from collections.abc import Mapping
from dataclasses import replace

from rayox_model.core.errors import ClusterError
from rayox_platform.resources.machines import Cluster, Machine

Selector = Mapping[str, str]


def selector(text: str | None) -> dict[str, str]:
    """From "key=value,key=!value,key=in(a;b)"; empty for None. Ray's own forms, with ; where Ray has a comma."""
    parts = [part.strip().partition("=") for part in (text or "").split(",") if part.strip()]
    return {key.strip(): value.strip().replace(";", ",") for key, _, value in parts}


def has_labels(machine: Machine, selected: Selector) -> bool:
    return fits(dict(machine.labels), selected)


def fits(labels: Mapping[str, str], selected: Selector) -> bool:
    """Whether a machine's labels have all that is selected."""
    return all(_fits(labels.get(key, ""), wanted) for key, wanted in selected.items())


def where(cluster: Cluster, selected: Selector, setting: str) -> Cluster:
    """The machines with these labels. Raises ClusterError when there is none."""
    machines = tuple(machine for machine in cluster.machines if has_labels(machine, selected))
    if machines:
        return replace(cluster, machines=machines)
    wanted = ",".join(f"{key}={value}" for key, value in selected.items())
    labels = sorted({f"{key}={value}" for machine in cluster.machines for key, value in machine.labels})
    own = [label for label in labels if not label.startswith("ray.io/node-")]
    raise ClusterError(
        f"{setting}: no node has {wanted}; labels there are: {', '.join(own) or 'none'}",
        f"start nodes with `ray start --labels {wanted}`, or leave {setting} out",
    )


def divided(cluster: Cluster, train: Selector, data: Selector) -> Cluster:
    """The machines of workers (train.nodes) and of data (data.nodes), each with what it takes.

    Raises ClusterError when there is none of a kind.
    """
    for selected, setting in ((train, "train.nodes"), (data, "data.nodes")):
        where(cluster, selected, setting)
    machines = [
        replace(one, takes_workers=has_labels(one, train), takes_data=has_labels(one, data)) for one in cluster.machines
    ]
    return replace(cluster, machines=tuple(one for one in machines if one.takes_workers or one.takes_data))


def _fits(label: str, wanted: str) -> bool:
    denied, rest = wanted.startswith("!"), wanted.removeprefix("!")
    values = rest[3:-1].split(",") if rest.startswith("in(") and rest.endswith(")") else [rest]
    return (label in [value.strip() for value in values]) != denied
