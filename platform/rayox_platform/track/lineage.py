"""Where a run comes from: commit, packages, machine, data. What a reader needs to make it again."""

import getpass
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path

import rayox_model
from rayox_model.core.plan import STREAM_CONTRACT
from rayox_model.core.secrets import without_secrets
from rayox_platform.data.coco import CocoDataset

MOST_CHARACTERS = 5000  # of a tag, as MLflow's databases keep it
PACKAGES = ("rayox", "torch", "torchvision", "ray", "mlflow", "opencv-python-headless", "numpy")


def lineage_tags(classes: tuple[str, ...]) -> dict[str, str]:
    """Tags of a run; those that begin with mlflow. are the ones its pages show."""
    return {
        "classes": ", ".join(classes),
        "python": platform.python_version(),
        "packages.digest": _packages_digest(),
        "mlflow.user": user(),
        "mlflow.source.name": "rayox train",
        "command": command_line(),
        "mlflow.source.type": "LOCAL",
        "stream.contract": str(STREAM_CONTRACT),
        **_cluster(),
        **{f"version.{name}": number for name, number in package_versions().items()},
        **_commit(),
    }


def _cluster() -> dict[str, str]:
    """The Ray cluster, its nodes and the job that a run is trained by; nothing where Ray is not connected."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return {}
    context = ray.get_runtime_context()
    nodes = [f"{node['NodeManagerHostname']} {node['NodeID'][:8]}" for node in ray.nodes() if node["Alive"]]
    submission = os.environ.get("RAYOX_SUBMISSION")
    return {
        "ray.cluster": context.gcs_address,
        "ray.job": context.get_job_id(),
        "ray.nodes": ", ".join(sorted(nodes))[:MOST_CHARACTERS],
        **({"ray.submission": submission} if submission else {}),
    }


@cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that decide a run's numbers: OpenCV's and numpy's builds decide pixels."""
    return {name: version(name) for name in PACKAGES}


def dataset_profile(dataset: CocoDataset) -> str:
    """Counts of a data set, as JSON."""
    return json.dumps(
        {
            "images": len(dataset),
            "boxes": len(dataset.labels),
            "classes": len(dataset.classes),
            "crowds": int(dataset.iscrowd.sum()),
        }
    )


def command_line() -> str:
    """What was typed, with its overrides; of a script, the script."""
    program, *words = sys.argv
    return without_secrets(shlex.join([Path(program).name.replace("__main__.py", "rayox"), *words]))


def _packages_digest() -> str:
    """One digest of every installed package with its version: equal for equal environments."""
    installed = set()
    for one in distributions():
        with suppress(FileNotFoundError):  # of a package half removed: the folder is there, the name in it is not
            if one.metadata["Name"]:
                installed.add(f"{one.metadata['Name']}=={one.version}".lower())
    return hashlib.sha256("\n".join(sorted(installed)).encode()).hexdigest()[:16]


def user() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's number without a name
        return str(os.getuid())


def _commit() -> dict[str, str]:
    """The commit rayox runs from, if it runs from a checkout and git is there."""
    folder = Path(rayox_model.__file__).parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": str(dirty).lower()}


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
