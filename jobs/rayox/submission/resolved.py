"""A verb as a job: its settings resolved here, with nothing in them that only this machine has."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import yaml

from rayox.config import RECIPES, load_recipe
from rayox.process.hidden_arguments import WHOLLY_SECRET
from rayox.submission.job_driver import RECIPE, TASK, Task
from rayox.submission.job_places import (
    DATA,
    ELSEWHERE,
    SIGNING,
    WEIGHTS,
    check_paths,
    holds_secret,
    image_folders,
    is_shared,
    local,
    shared_places,
)
from rayox.submission.sent_files import SETTINGS, read_sent
from rayox.submission.verb_words import VerbWords, read_words
from rayox_cluster.cluster_record import ClusterRecord
from rayox_model.core.errors import ConfigError
from rayox_platform.config.load import LoadedConfig
from rayox_platform.config.origin import Rank
from rayox_platform.config.run_names import check_name, check_names
from rayox_platform.config.settings import leaves, settings
from rayox_platform.storage.folders import is_remote

VERBS = ("train", "tune", "evaluate", "predict", "data", "promote", "runs", "models")
BEFORE = ("--address", "--json")  # options of submit itself
BY_ITSELF = ("--resume", "--extend")  # submit decides this
HERE = ("--smoke", "--dry-run")  # of train: it looks at a run that is not started
PLACES = ("storage", "tracking.uri")
PLAN = "--plan"  # of a campaign


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
    outputs: tuple[str, ...] = ()  # that its driver has to be able to write
    images: tuple[tuple[str, str], ...] = ()  # annotations, and the folder that has to have images of theirs
    campaign: str = ""  # name of the one it runs

    @property
    def submission_id(self) -> str:
        """Without the number of the attempt."""
        return f"rayox-{self.verb}-{self.digest}"

    @property
    def is_lasting(self) -> bool:
        """Whether the same again would only find what is there: a run or a campaign under its name."""
        return bool(self.task.run or self.campaign)

    def files(self, submission_id: str, goes_on: bool = False) -> dict[str, bytes]:
        """The job's folder; goes_on is whether an earlier job of this work has not come to its end."""
        task = replace(self.task, submission_id=submission_id, tracking=self.tracking, goes_on=goes_on)
        return {TASK: task.to_json(), **self.settings} | ({RECIPE: self.recipe} if self.recipe else {})

    def anew(self, number: int) -> "Resolved":
        """The same work once more from its beginning, under the name with the number behind it."""
        name = f"{self.name}-{number}"
        if self.task.run:
            recipe = yaml.safe_load(self.recipe) | {"name": name}
            return replace(self, name=name, task=replace(self.task, run=name), recipe=_yaml(recipe))
        campaign = f"{self.campaign}-{number}"
        words = (*self.task.arguments, "--name", campaign)
        return replace(self, name=name, task=replace(self.task, arguments=words, campaign=campaign))

    def as_it_ran(self, name: str) -> "Resolved":
        """Under the name of an earlier attempt, which may be one that began anew."""
        number = name.removeprefix(f"{self.name}-")
        return self.anew(int(number)) if number != name and number.isdigit() else self


def resolve(words: Sequence[str], record: ClusterRecord | None) -> Resolved:
    """The verb's words as a job for a cluster. Raises ConfigError and DataError of what cannot be sent there."""
    if not words:
        raise ConfigError("submit: no verb is named", "write it behind --, as in `rayox submit -- train shapes`")
    verb, *arguments = words
    if verb not in VERBS:
        raise ConfigError(f"submit: {verb!r} cannot be a job", f"these can: {', '.join(VERBS)}")
    _refuse_options(verb, arguments)
    read = read_words(words)
    if verb == "train":
        return _training(read, record)
    if read.campaign:
        return _campaign(read, arguments, record)
    return _other(read, arguments, record)


def _refuse_options(verb: str, arguments: Sequence[str]) -> None:
    for word in arguments:
        option = word.partition("=")[0]
        if option in BEFORE:
            hint = (
                f"it stands before --, as in `rayox submit {option}{' …' if option == '--address' else ''} -- {verb} …`"
            )
        elif option in BY_ITSELF:
            hint = (
                "a submitted run goes on by itself when it is submitted again; `rayox train --extend` and `rayox tune "
            )
            hint += "--extend` on a node of the cluster (--address auto) train one further"
        elif option in HERE and verb == "train":
            hint = f"`rayox {verb} … {option}` does that here; `rayox doctor RECIPE` asks every node of the cluster"
        else:
            continue
        raise ConfigError(f"submit: {option} does not go behind --", hint)


def _training(read: VerbWords, record: ClusterRecord | None) -> Resolved:
    if read.recipe is None:
        raise ConfigError("submit: train needs a recipe", "as in `rayox submit -- train finetune`")
    loaded = load_recipe(read.recipe, [*read.overrides, *([f"name={read.name}"] if read.name else [])])
    loaded.require("data.train.annotations", "data.val.annotations")
    config = loaded.config
    check_names(config)
    storage, tracking, _ = shared_places(config, record)
    paths = check_paths(config, WEIGHTS + DATA)
    values = config.model_dump(mode="json", exclude={"notify"}) | {"storage": storage}
    values["tracking"]["uri"] = tracking
    _refuse_secrets([f"{key}={value}" for key, value in leaves(values, settings()) if isinstance(value, str)])
    is_named = loaded.origins["name"].rank != Rank.DEFAULT  # also by name=…, its file or a variable, as train has it
    digest = _digest("train", values | {"name": config.name if is_named else ""})
    run = config.name if is_named else f"{config.name}-{digest[:8]}"
    task = Task("train", (), run, storage, _state(storage, record))
    text, images = _yaml(values | {"name": run}), image_folders(config)
    return Resolved("train", run, digest, task, text, storage, tracking, paths, images=images)


def _campaign(read: VerbWords, arguments: Sequence[str], record: ClusterRecord | None) -> Resolved:
    from rayox.tune import CAMPAIGNS
    from rayox_platform.tune.campaign_file import load_campaign

    loaded = load_campaign(str(read.campaign), read.overrides, packaged=CAMPAIGNS, recipes=RECIPES, environ=os.environ)
    loaded.base.require("data.train.annotations", "data.val.annotations")
    name = read.name or loaded.campaign.name
    check_name("name", name)
    check_names(loaded.base.config)
    recipes = [word.removeprefix("recipe=") for word in read.overrides if word.startswith("recipe=")]
    files = [file for file in (str(read.campaign), *recipes) if _is_file(file)]
    resolved = _sent(read, arguments, record, loaded.base, files, WEIGHTS + DATA)
    if PLAN in arguments:  # it begins none
        return resolved
    return replace(resolved, campaign=name, task=replace(resolved.task, campaign=name))


def _other(read: VerbWords, arguments: Sequence[str], record: ClusterRecord | None) -> Resolved:
    loaded = load_recipe(read.recipe, read.overrides)
    signing = tuple(key for key in SIGNING if loaded.origins[key].rank != Rank.ENV)  # of a variable: each node's own
    keys = DATA if read.verb.startswith("data ") else WEIGHTS + DATA + signing
    recipes = [read.recipe] if read.recipe and _is_file(read.recipe) else []
    resolved = _sent(read, arguments, record, loaded, [*recipes, *read.files], keys)
    return replace(resolved, paths=tuple(dict.fromkeys((*resolved.paths, *_gate_data(read.files)))))


def _gate_data(files: Sequence[str]) -> Iterator[str]:
    """Data that a gate's file names. Raises DataError for those of this machine."""
    from rayox_platform.promote.gate_settings import read_gate

    for file in files:
        data = read_gate(Path(file)).data
        for path in (data.annotations, data.images):
            if path and not path.startswith(ELSEWHERE):
                if not is_shared(path):
                    raise local(path, file)
                yield path


def _sent(
    read: VerbWords,
    arguments: Sequence[str],
    record: ClusterRecord | None,
    loaded: LoadedConfig,
    files: Sequence[str],
    keys: Sequence[str],
) -> Resolved:
    """A verb whose words are sent, with files of settings beside them; keys are settings that name what it reads."""
    storage, tracking, own = shared_places(loaded.config, record)
    paths = tuple(dict.fromkeys((*read.inputs, *check_paths(loaded.config, keys))))
    words = [word for word in arguments if not word.startswith(WHOLLY_SECRET)]
    words += _of_environment(loaded) if read.takes_settings else []
    _refuse_secrets(words)
    sent: dict[str, bytes] = {}
    for file in files:
        read_sent(Path(file), sent)
        words = [_beside(word, file) for word in words]
    verb = read.verb.partition(" ")[0]
    digest = _digest(verb, [*words, storage, tracking, *(content.decode() for content in sent.values())])
    task = Task(verb, tuple(words), "", "" if own else storage, _state(storage, record))
    name, images = f"{verb}-{digest[:8]}", image_folders(loaded.config)
    return Resolved(verb, name, digest, task, b"", storage, tracking, paths, sent, read.outputs, images)


def _refuse_secrets(words: Sequence[str]) -> None:
    for word in words:
        key, _, value = word.rpartition("=")
        if holds_secret(word) or holds_secret(value):
            raise ConfigError(
                f"{key or 'an argument'}: has a credential in it, and all can read a job's settings",
                "leave it out: the nodes' environment has credentials (MLFLOW_TRACKING_USERNAME and …_PASSWORD, AWS_…)",
            )


def _beside(word: str, file: str) -> str:
    """A word that names a file, with its name in the job's folder in its place."""
    if word == file:
        return Path(file).name
    return f"{word.removesuffix(file)}{Path(file).name}" if word.endswith(f"={file}") else word


def _of_environment(loaded: LoadedConfig) -> list[str]:
    """Settings of this process's RAYOX_ variables, which a job does not see, as words."""
    values = dict(leaves(loaded.config.model_dump(mode="json"), settings()))
    return [
        f"{key}={json.dumps(values[key])}"
        for key, origin in loaded.origins.items()
        if origin.rank == Rank.ENV and key not in PLACES + SIGNING and not key.startswith(WHOLLY_SECRET)
    ]


def _is_file(name: str) -> bool:
    path = Path(name)
    return path.suffix in SETTINGS and path.is_file()


def _state(storage: str, record: ClusterRecord | None) -> str:
    """RAYOX_STATE of the driver."""
    return str(Path(record.storage).parent) if record else ("" if is_remote(storage) else f"{storage}/.rayox")


def _yaml(values: Mapping[str, object]) -> bytes:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True).encode()


def _digest(verb: str, values: object) -> str:
    text = json.dumps([verb, version("rayox"), values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
