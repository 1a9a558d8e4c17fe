"""Tells somebody that a run has ended or who is champion: a web address by POST, a program by its standard input.

Both get one JSON. Whatever goes wrong here is one line for the user and never changes how the command ends.
"""

import json
import os
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from rayox_model.core.secrets import without_secrets
from rayox_platform.config.tree import Notify
from rayox_platform.config.values import masked

URL_SECONDS = 10.0
URL_TRIES = 3
COMMAND_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Message:
    """How a run ended."""

    run: str
    status: str  # finished, failed or interrupted
    exit_code: int
    metrics: Mapping[str, float | None]
    error: str | None
    checkpoint: str | None  # the newest
    model: str | None
    run_id: str | None  # of MLflow
    host: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PromotionMessage:
    """What became of a promotion or a rollback."""

    event: str = "promotion"
    name: str  # of the registered model
    status: str  # promoted, refused or rolled back
    exit_code: int
    model: str | None  # the new champion
    candidate: str
    predecessor: int | None
    error: str | None
    actor: str
    reason: str
    overrides: Mapping[str, str]
    host: str


def notify(settings: Notify, message: Message | PromotionMessage) -> Iterator[str]:
    """Tell everybody who is to be told; each failure is a line."""
    body = json.dumps(asdict(message)).encode()
    if isinstance(message, Message):
        what, variables = f"the run {message.status}", {"RAYOX_RUN": message.run}
    else:
        what, variables = f"{message.candidate} was {message.status} ({message.name})", {"RAYOX_MODEL": message.name}
    if settings.url:
        why = _post(settings.url, body)
        if why:
            yield f"notify.url: {masked(settings.url)} was not told that {what}: {why}"
    if settings.command:
        why = _run(settings.command, body, variables | {"RAYOX_STATUS": message.status})
        if why:
            yield f"notify.command: {why}"


def _post(url: str, body: bytes) -> str:
    """Why it failed; empty when it did not. A refusal (4xx) is not tried again."""
    why = ""
    for attempt in range(URL_TRIES):
        if attempt:
            time.sleep(attempt)
        try:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
            with urllib.request.urlopen(request, timeout=URL_SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            error.close()
            why = f"HTTP {error.code}"
            if error.code < 500 and error.code != 429:
                return why
        except (OSError, ValueError) as error:
            why = str(getattr(error, "reason", type(error).__name__))
    return f"{why} ({URL_TRIES} tries)"


def _run(command: str, body: bytes, variables: Mapping[str, str]) -> str:
    """Why it failed; empty when it did not. What the program prints is dropped, but for the last line of a failure."""
    try:
        words = shlex.split(command)
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | variables,
            start_new_session=True,  # so that a time-out ends what it has started, too
        )
    except (OSError, ValueError) as error:
        return f"cannot be run: {error}"
    try:
        _, said = process.communicate(body, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"{words[0]} was ended after {COMMAND_SECONDS:g} s"
    if process.returncode == 0:
        return ""
    last = without_secrets(said.decode(errors="replace")).strip().splitlines()[-1:]
    return f"{words[0]} failed with exit code {process.returncode}" + "".join(f": {line[:200]}" for line in last)
