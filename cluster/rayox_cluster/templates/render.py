"""A template's text: what it is, the command that made it, what has to be there before, and the manifests."""

import dataclasses
import shlex
from collections.abc import Callable, Mapping

import yaml

from rayox_cluster.templates.box import compose, dockerfile
from rayox_cluster.templates.kuberay import ray_cluster
from rayox_cluster.templates.machines import aws, gcp
from rayox_cluster.templates.needs import needs
from rayox_cluster.templates.pods import Manifest
from rayox_cluster.templates.ray_jobs import ray_cron_job, ray_job
from rayox_cluster.templates.values import Values

KINDS: Mapping[str, Callable[[Values], list[Manifest]]] = {
    "kuberay": ray_cluster,
    "kuberay-job": ray_job,
    "kuberay-cron": ray_cron_job,
    "aws": aws,
    "gcp": gcp,
    "compose": compose,
}
DOCKERFILE = "dockerfile"


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True  # repeated parts are written out: manifests are read by people


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Texts of several lines as they are."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)


def render(kind: str, values: Values) -> str:
    """The whole file of a kind of KINDS, or the Dockerfile."""
    changed = {
        field.name: getattr(values, field.name)
        for field in dataclasses.fields(Values)
        if getattr(values, field.name) != field.default
    }
    words = shlex.join(["rayox", "cluster", "template", kind, *(f"{key}={value}" for key, value in changed.items())])
    return f"# Made by: {words}\n{_body(kind, values)}"


def without_use(kind: str, values: Values) -> list[str]:
    """The keys that were set and that change nothing in the file of this kind, whatever their value."""
    text = _body(kind, values)
    found = {one.name: getattr(values, one.name) for one in dataclasses.fields(Values)}
    changed = [one.name for one in dataclasses.fields(Values) if found[one.name] != one.default]
    other = {key: found[key] + (1 if isinstance(found[key], int) else "x") for key in changed}
    return [key for key in changed if text == _body(kind, dataclasses.replace(values, **{key: other[key]}))]


def _body(kind: str, values: Values) -> str:
    head = ["Needs before, and is used by:", *(f"  {line}" for line in needs(kind, values))]
    comment = "".join(f"# {line}".rstrip() + "\n" for line in head)
    if kind == DOCKERFILE:
        return comment + dockerfile(values)
    text = yaml.dump_all(
        KINDS[kind](values), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True, default_flow_style=False
    )
    return comment + text
