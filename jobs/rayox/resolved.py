"""A verb as a job: its settings resolved here, with nothing in them that only this machine has."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from rayox.config import load_recipe
from rayox.hidden_arguments import WHOLLY_SECRET
from rayox.job_driver import RECIPE, TASK, Task
from rayox_cluster.cluster_record import ClusterRecord
from rayox_model.core.errors import ConfigError, DataError
from rayox_model.core.secrets import masked_address
from rayox_platform.config.tree import Config
from rayox_platform.storage.folders import is_remote

VERBS = ("train", "tune", "evaluate", "predict", "data", "promote", "runs", "models", "export")
OWN_OPTIONS = ("--resume", "--address", "--extend", "--smoke", "--dry-run", "--json")  # submit decides these
ELSEWHERE = ("shapes:", "models:/", "runs:/")  # drawn where it is needed, or in MLflow
SETTINGS = (".yaml", ".yml", ".toml")
BUILDS_ON = ("extends", "recipe")  # of such a file: another one


@dataclass(frozen=True)
class Resolved:
    """What is to be submitted."""

    verb: str
    name: str  # of the run, or of what the verb does
    digest: str  # equal for equal work
    task: Task
    recipe: bytes  # empty of a verb that trains nothing
    storage: str
    tracking: str
    paths: tuple[str, ...]  # that every node has to have
    settings: Mapping[str, bytes] = field(default_factory=dict)  # files of settings that the verb names

    @property
    def submission_id(self) -> str:
        """Without the number of the attempt."""
        return f"rayox-{self.verb}-{self.digest}"

    def files(self, submission_id: str, goes_on: bool = False) -> dict[str, bytes]:
        """The job's folder; goes_on is whether an earlier job of this work has not come to its end."""
        task = replace(self.task, submission_id=submission_id, tracking=self.tracking, goes_on=goes_on)
        return {TASK: task.to_json(), **self.settings} | ({RECIPE: self.recipe} if self.recipe else {})


def resolve(words: Sequence[str], record: ClusterRecord | None) -> Resolved:
    """The verb's words as a job for a cluster. Raises ConfigError and DataError of what cannot be sent there."""
    if not words:
        raise ConfigError("submit: no verb is named", "write it behind --, as in `rayox submit -- train shapes`")
    verb, *arguments = words
    if verb not in VERBS:
        raise ConfigError(f"submit: {verb!r} cannot be a job", f"these can: {', '.join(VERBS)}")
    given = [word for word in arguments if word.partition("=")[0] in OWN_OPTIONS]
    if given:
        raise ConfigError(
            f"submit: {given[0]} does not go behind --",
            "a submitted run goes on by itself when it is submitted again; --address and --json stand before --",
        )
    return _training(arguments, record) if verb == "train" else _other(verb, arguments, record)


def _training(arguments: Sequence[str], record: ClusterRecord | None) -> Resolved:
    recipe, overrides, name = _train_words(arguments)
    places = [f"{key}={value}" for key, value in _places(overrides, record).items()]
    loaded = load_recipe(recipe, [*places, *overrides, *([f"name={name}"] if name else [])])
    loaded.require("data.train.annotations", "data.val.annotations")
    config = loaded.config
    storage, tracking = _shared_places(config)
    paths = _paths(config)
    values = config.model_dump(mode="json", exclude={"notify"})
    digest = _digest("train", values | {"name": name or ""})
    run = name or f"{config.name}-{digest[:8]}"
    text = yaml.safe_dump(values | {"name": run}, sort_keys=False, allow_unicode=True)
    state = str(Path(record.storage).parent) if record else ("" if is_remote(storage) else f"{storage}/.rayox")
    return Resolved(
        "train", run, digest, Task("train", (), run, storage, state), text.encode(), storage, tracking, paths
    )


def _other(verb: str, arguments: Sequence[str], record: ClusterRecord | None) -> Resolved:
    overrides = [word for word in arguments if "=" in word and not word.startswith("-")]
    places = _places(overrides, record)
    said = [word for word in overrides if word.startswith(("storage=", "tracking.uri="))]
    config = load_recipe(None, [*said, *(f"{key}={value}" for key, value in places.items())]).config
    storage, tracking = _shared_places(config)
    words, sent = _with_settings([word for word in arguments if not word.startswith(WHOLLY_SECRET)])
    values = [word.rpartition("=")[2] for word in words if word not in sent]
    paths = tuple(dict.fromkeys(value for value in values if value.startswith("/")))
    for value in values:
        if not value.startswith("/") and not is_remote(value) and Path(value).exists():
            raise _local(value)
    digest = _digest(verb, [*words, storage, tracking, *(content.decode() for content in sent.values())])
    state = str(Path(record.storage).parent) if record else ("" if is_remote(storage) else f"{storage}/.rayox")
    own = "storage" in places  # that of the local cluster: campaigns lie where those of this machine do
    task = Task(verb, tuple(words), "", "" if own else storage, state)
    return Resolved(verb, f"{verb}-{digest[:8]}", digest, task, b"", storage, tracking, paths, sent)


def places_of(config: Config, record: ClusterRecord | None) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Storage, tracking and data that a job of these settings would use; a local cluster supplies the first two."""
    storage = config.storage or (record.storage if record else None)
    tracking = config.tracking.uri or (record.tracking if record else None)
    return storage, tracking, _paths(config)


def _with_settings(arguments: Sequence[str]) -> tuple[list[str], dict[str, bytes]]:
    """The words with each file of settings (a campaign, a gate) under its name in the job's folder, and those files."""
    words: list[str] = []
    sent: dict[str, bytes] = {}
    for word in arguments:
        path = Path(word)
        if path.suffix in SETTINGS and path.is_file():
            _add_settings(path, sent)
            word = path.name
        words.append(word)
    return words, sent


def _add_settings(path: Path, sent: dict[str, bytes]) -> None:
    """A file of settings and those beside it that it builds on. Raises ConfigError for one that lies elsewhere."""
    sent[path.name] = path.read_bytes()
    try:
        content = yaml.safe_load(sent[path.name])
    except yaml.YAMLError:  # the verb says where
        return
    if isinstance(content, dict) and content.get("notify"):
        raise ConfigError(
            f"{path}: notify: may hold a token, and all can read a job's files",
            "leave it out of the file, and set RAYOX_NOTIFY__URL or RAYOX_NOTIFY__COMMAND on the nodes",
        )
    for key in BUILDS_ON:
        name = content.get(key) if isinstance(content, dict) else None
        named = path.parent / name if isinstance(name, str) else path
        if named.suffix not in SETTINGS or not named.is_file() or named.name in sent:
            continue
        if named.parent != path.parent:
            raise ConfigError(
                f"{path}: {key}: {name} lies in another folder than this file, and a job's files lie side by side",
                f"copy it beside {path.name} and name it {named.name}",
            )
        _add_settings(named, sent)


def _train_words(arguments: Sequence[str]) -> tuple[str, list[str], str | None]:
    """The recipe, the overrides and --name of a train line."""
    recipe, overrides, name, words = None, [], None, iter(arguments)
    for word in words:
        if word == "--name":
            name = next(words, None)
        elif word.startswith("--name="):
            name = word.partition("=")[2]
        elif word.startswith("-"):
            raise ConfigError(f"submit: train has no option {word} in a job", "give settings as key=value")
        elif recipe is None and "=" not in word:
            recipe = word
        else:
            overrides.append(word)
    if recipe is None:
        raise ConfigError("submit: train needs a recipe", "as in `rayox submit -- train finetune`")
    return recipe, overrides, name


def _places(overrides: Sequence[str], record: ClusterRecord | None) -> dict[str, str]:
    """Storage and tracking of the local cluster, for who has not said others."""
    if record is None:
        return {}
    said = {word.partition("=")[0] for word in overrides}
    supplied = {"storage": record.storage, "tracking.uri": record.tracking}
    return {key: value for key, value in supplied.items() if key not in said}


def _shared_places(config: Config) -> tuple[str, str]:
    """Storage and tracking that other machines can reach. Raises ConfigError."""
    if config.storage is None:
        raise ConfigError(
            "storage: is not set, and a job's own folder is thrown away",
            "give storage=s3://bucket/prefix, or a folder that every node has",
        )
    if not is_remote(config.storage) and not config.storage.startswith("/"):
        raise ConfigError(
            f"storage: {config.storage!r} is a relative path, which is another folder on every node",
            "give s3://bucket/prefix, or the whole path of a folder that every node has",
        )
    if config.tracking.uri is None:
        raise ConfigError(
            "tracking.uri: is not set, and MLflow's file would lie in the job's own folder",
            "give tracking.uri=http://… of a tracking server that every node reaches",
        )
    parts = urlsplit(config.tracking.uri)
    if parts.scheme == "sqlite":
        raise ConfigError(
            f"tracking.uri: {config.tracking.uri} is a file of one machine",
            "give tracking.uri=http://… of a tracking server that every node reaches",
        )
    if masked_address(config.tracking.uri) != config.tracking.uri:
        raise ConfigError(
            f"tracking.uri: has a user or password in it (at {parts.hostname}), and all can read a job's settings",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD on the nodes, and give the address alone",
        )
    return config.storage, config.tracking.uri


def _paths(config: Config) -> tuple[str, ...]:
    """Data and weights that every node has to read. Raises DataError for what only this machine may have."""
    wanted = [config.model.init]
    for split in (config.data.train, config.data.val):
        wanted += [split.annotations, split.images]
    paths = [path for path in wanted if path and not path.startswith(ELSEWHERE)]
    for path in paths:
        if not is_remote(path) and not path.startswith("/"):
            raise _local(path)
    return tuple(dict.fromkeys(paths))


def _local(path: str) -> DataError:
    return DataError(
        f"{path}: lies on this machine, and a job sends no data",
        "put it where all nodes read it: `rayox data shard … s3://bucket/prefix` packs a data set; or give the whole "
        "path of a folder that every node has",
    )


def _digest(verb: str, values: object) -> str:
    text = json.dumps([verb, version("rayox"), values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
