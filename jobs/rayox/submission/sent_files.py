"""Files of settings that go with a job: those a verb names and what they build on, with no credential in them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from rayox.submission.job_places import holds_secret
from rayox_model.core.errors import ConfigError
from rayox_model.core.secrets import without_secrets
from rayox_platform.config.yaml_values import describe_error

SETTINGS = (".yaml", ".yml")
BUILDS_ON = ("extends", "recipe")  # of such a file: another one
TELLS = "notify"  # the section whose every setting may be a token


def read_sent(path: Path, sent: dict[str, bytes]) -> None:
    """Add a file under its name, and those beside it that it builds on.

    Raises ConfigError for one that lies elsewhere, and for a credential: all who reach the cluster read a job's files.
    """
    content = path.read_bytes()
    if sent.get(path.name, content) != content:
        raise ConfigError(
            f"{path}: this job already has another file called {path.name}", "give one of them another name"
        )
    sent[path.name] = content
    text = content.decode("utf-8", "replace")
    values = _values(path, text)
    _refuse_secrets(path, text, values)
    for key in BUILDS_ON:
        name = values.get(key) if isinstance(values, dict) else None
        named = path.parent / name if isinstance(name, str) else path
        if named.suffix not in SETTINGS or not named.is_file() or (named.name in sent and named.parent == path.parent):
            continue
        if named.parent != path.parent:
            raise ConfigError(
                f"{path}: {key}: {name} lies in another folder than this file, and a job's files lie side by side",
                f"copy it beside {path.name} and name it {named.name}",
            )
        read_sent(named, sent)


def _values(path: Path, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        line, said = describe_error(error)
        raise ConfigError(f"{path}{f':{line}' if line else ''}  {said}", "mend the file") from error


def _refuse_secrets(path: Path, text: str, values: object) -> None:
    for key, value in _entries(values):
        if TELLS in key.split(".") and value is not None:
            raise ConfigError(
                f"{path}: {key}: may hold a token, and all can read a job's files",
                "leave it out of the file, and set RAYOX_NOTIFY__URL or RAYOX_NOTIFY__COMMAND on the nodes",
            )
        if isinstance(value, str) and holds_secret(value):
            raise ConfigError(
                f"{path}: {key}: has a credential in it, and all can read a job's files",
                "leave it out: the nodes' environment has credentials (MLFLOW_TRACKING_USERNAME and …_PASSWORD, AWS_…)",
            )
    for number, line in enumerate(text.splitlines(), 1):
        if without_secrets(line) != line:  # in a comment
            raise ConfigError(
                f"{path}:{number}: has a credential in it, and all can read a job's files", "leave it out of the file"
            )


def _entries(values: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Every value by its dotted key, however sections and dots share that out."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from _entries(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list):
        for value in values:
            yield from _entries(value, key)
    else:
        yield key, values
