"""What a node can reach of a job's storage, tracking server and data; called there out of the job's own files."""

import glob
import json
import os
import platform
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MARKER = ".rayox-probe"  # in a storage that nodes were asked about; with a mark behind it, of one question alone
ANSWER_SECONDS = 15.0
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}  # of databases whose address names none
FIRST_BYTES = 4 << 20  # of annotations, in which the first images are named
MOST_TRIED = 5  # images that are looked for in a folder
FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')


def begin(question: Mapping[str, Any]) -> None:
    """Leave the question's mark in the storage, before the nodes are asked whether they see it."""
    storage = question.get("storage")
    if storage:
        from rayox_model.core.errors import RayoxError
        from rayox_platform.storage.folders import open_folder

        try:
            folder = open_folder(storage)
            folder.write(_marked(question), b"rayox")
            if not folder.has(MARKER):  # by which whoever follows a run tells that it sees the cluster's storage
                folder.write(MARKER, b"rayox")
        except (OSError, RayoxError):
            return  # each node says why


def end(question: Mapping[str, Any]) -> None:
    """Take the question's mark away again."""
    storage = question.get("storage")
    if storage:
        from rayox_model.core.errors import RayoxError
        from rayox_platform.storage.folders import open_folder

        with suppress(OSError, RayoxError):
            open_folder(storage).remove(_marked(question))


def _marked(question: Mapping[str, Any]) -> str:
    return f"{MARKER}-{question['mark']}"


def check(question: Mapping[str, Any]) -> dict[str, Any]:
    """Each of what the question names, by name: "" when it is as it should be, else what is wrong with it."""
    storage, tracking = question.get("storage"), question.get("tracking")
    paths = {path: path_problem(path) for path in question.get("paths", ())}
    for annotations, folder in question.get("images", ()):
        if not paths.get(annotations) and not paths.get(folder):
            paths[folder] = images_problem(annotations, folder)
    return {
        "storage": storage_problem(storage, _marked(question)) if storage else "",
        "tracking": tracking_problem(tracking) if tracking else "",
        "paths": paths,
        "sizes": {path: _size(path) for path in question.get("paths", ())},
        "outputs": {path: output_problem(path) for path in question.get("outputs", ())},
    }


def storage_problem(storage: str, marker: str) -> str:
    """Whether this node can write there, and what it writes to is the storage that has the marker."""
    from rayox_model.core.errors import RayoxError
    from rayox_platform.storage.folders import open_folder

    own = f"{MARKER}-{platform.node()}-{uuid.uuid4().hex[:8]}"
    try:
        folder = open_folder(storage)
        folder.write(own, b"rayox")
        folder.remove(own)
        return "" if folder.has(marker) else "is not the storage that the head has"
    except (OSError, RayoxError) as error:
        return f"cannot be written ({_short(error)})"


def tracking_problem(uri: str) -> str:
    """Whether an MLflow server answers and lets this node in; of a database, whether its port is open."""
    import socket

    import requests

    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        if not parts.hostname:
            return ""
        try:
            port = parts.port or PORTS.get(parts.scheme.partition("+")[0], 5432)
            socket.create_connection((parts.hostname, port), ANSWER_SECONDS).close()
        except (OSError, ValueError) as error:  # a port that cannot be
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
    """Whether a file or folder of the data can be read here, or files by a pattern; a folder has something in it."""
    from rayox_model.core.errors import RayoxError
    from rayox_platform.storage.folders import is_remote, open_folder, split_address

    try:
        if not is_remote(path):
            return _local_problem(Path(path.removeprefix("file://")))
        folder, name = split_address(path)
        return "" if open_folder(path).exists() or open_folder(folder).has(name) else "is not there"
    except (OSError, RayoxError) as error:
        return f"cannot be read ({_short(error)})"


def _local_problem(path: Path) -> str:
    """Raises OSError below a folder that is closed to this process."""
    if not path.exists():
        return "" if any(glob.iglob(str(path))) else "is not there"
    if not os.access(path, os.R_OK):
        return "cannot be read"
    return "is an empty folder" if path.is_dir() and not any(path.iterdir()) else ""


def images_problem(annotations: str, folder: str) -> str:
    """Whether a folder has any of the first images that annotations name; if they name none, it is not checked."""
    from rayox_model.core.errors import RayoxError
    from rayox_platform.storage.folders import open_folder

    try:
        names, there = list(_first_images(annotations)), open_folder(folder)
        if not names or any(there.has(name) for name in names):
            return ""
    except (OSError, RayoxError) as error:
        return f"cannot be read ({_short(error)})"
    return f"has none of the images of {annotations}, as {names[0]}"


def _first_images(annotations: str) -> Iterator[str]:
    """Names of a few images of a COCO file; of shards none."""
    from rayox_platform.storage.folders import open_folder, split_address

    folder, name = split_address(annotations.removeprefix("file://"))
    place = open_folder(folder)
    if place.has(name):
        for found in list(FILE_NAME.findall(place.read_range(name, 0, FIRST_BYTES)))[:MOST_TRIED]:
            yield str(json.loads(found))


def output_problem(path: str) -> str:
    """Whether a file or folder can be made here; one that is there is replaced."""
    from rayox_platform.storage.folders import is_remote

    if is_remote(path):
        return ""  # the verb says
    try:
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        if not folder.is_dir():
            return f"cannot be written: there is no folder {folder}"
    except OSError as error:  # below a folder that is closed to this process
        return f"cannot be written ({_short(error)})"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"cannot be written: {folder} is not ours to write to"


def _size(path: str) -> int:
    """The size of a local file, which has to be the same on every node; 0 of anything else."""
    found = Path(path.removeprefix("file://"))
    try:
        return found.stat().st_size if found.is_file() else 0
    except OSError:  # which path_problem tells
        return 0


def _short(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[-160:]
