"""What a node can reach of a job's storage, tracking server and data; called there out of the job's own files."""

import os
import platform
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MARKER = ".rayox-probe"  # in the storage: whoever reads the same one has the same storage
ANSWER_SECONDS = 15.0


def begin(question: Mapping[str, Any]) -> None:
    """Leave the question's mark in the storage, before the nodes are asked whether they see it."""
    storage = question.get("storage")
    if storage:
        from rayox_model.core.errors import RayoxError
        from rayox_platform.storage.folders import open_folder

        try:
            open_folder(storage).write(MARKER, question["mark"].encode())
        except (OSError, RayoxError):
            return  # each node says why


def check(question: Mapping[str, Any]) -> dict[str, Any]:
    """Each of what the question names, by name: "" when it is as it should be, else what is wrong with it."""
    storage, tracking = question.get("storage"), question.get("tracking")
    return {
        "storage": storage_problem(storage, question["mark"]) if storage else "",
        "tracking": tracking_problem(tracking) if tracking else "",
        "paths": {path: path_problem(path) for path in question.get("paths", ())},
        "sizes": {path: _size(path) for path in question.get("paths", ())},
    }


def storage_problem(storage: str, mark: str) -> str:
    """Whether this node can write there, and what it writes to is the storage that has the mark."""
    from rayox_model.core.errors import RayoxError
    from rayox_platform.storage.folders import open_folder

    own = f"{MARKER}-{platform.node()}-{uuid.uuid4().hex[:8]}"
    try:
        folder = open_folder(storage)
        folder.write(own, b"rayox")
        folder.remove(own)
        found = folder.read(MARKER).decode() if folder.has(MARKER) else ""
    except (OSError, RayoxError) as error:
        return f"cannot be written ({_short(error)})"
    return "" if found == mark else "is not the storage that the head has"


def tracking_problem(uri: str) -> str:
    """Whether an MLflow server answers and lets this node in; of a database, whether its port is open."""
    import socket

    import requests

    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        if not parts.hostname:
            return ""
        try:
            socket.create_connection((parts.hostname, parts.port or 5432), ANSWER_SECONDS).close()
        except OSError as error:
            return f"does not answer ({_short(error)})"
        return ""
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    url = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search"
    try:
        answer = requests.post(
            url,
            json={"max_results": 1},
            auth=(user, password) if user and password else None,
            headers={"Authorization": f"Bearer {token}"} if token else None,
            timeout=ANSWER_SECONDS,
        )
    except (requests.RequestException, UnicodeError) as error:
        said = _short(error).rpartition("] ")[2].rstrip("'\")")  # requests wraps it in the names of its own classes
        return f"does not answer ({said})"
    if answer.status_code in (401, 403):
        return f"wants credentials that this node has not ({answer.status_code})"
    return "" if answer.ok else f"answers with {answer.status_code}"


def path_problem(path: str) -> str:
    """Whether a file or folder of the data can be read here."""
    from rayox_model.core.errors import RayoxError
    from rayox_platform.storage.folders import is_remote, open_folder, split_address

    if not is_remote(path):
        found = Path(path)
        if not found.exists():
            return "is not there"
        return "" if os.access(found, os.R_OK) else "cannot be read"
    try:
        folder, name = split_address(path)
        return "" if open_folder(path).exists() or open_folder(folder).has(name) else "is not there"
    except (OSError, RayoxError) as error:
        return f"cannot be read ({_short(error)})"


def _size(path: str) -> int:
    """The size of a local file, which has to be the same on every node; 0 of anything else."""
    found = Path(path)
    return found.stat().st_size if found.is_file() else 0


def _short(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[-160:]
