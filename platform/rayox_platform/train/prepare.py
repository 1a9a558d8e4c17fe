"""Everything about a training that can be checked before anything starts: its name, model and data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rayox_model.checkpoint.snapshot import Facts
from rayox_model.checkpoint.weights import Transfer
from rayox_model.core.errors import ConfigError, DataError
from rayox_model.core.plan import StreamPlan
from rayox_model.nets.yolox import YOLOX
from rayox_platform.config.run_names import check_names
from rayox_platform.config.tree import Config
from rayox_platform.data.enough import nothing_to_find, nothing_to_learn, refuse_unfit
from rayox_platform.data.images import CocoImages
from rayox_platform.data.resolve import resolve_split
from rayox_platform.models.open_model import new_model
from rayox_platform.runs.checkpoints import Chosen
from rayox_platform.runs.home import RunHome
from rayox_platform.runs.places import open_runs
from rayox_platform.storage.errors import storage_errors
from rayox_platform.storage.folders import is_remote
from rayox_platform.storage.state import RESULT, is_thrown_away, runs_folder, state_folder
from rayox_platform.train.same_data import check_same_data
from rayox_platform.train.stream_blocks import stream_plan


@dataclass(frozen=True)
class Prepared:
    """A training whose settings, model and data have been checked; nothing is started or written yet."""

    config: Config
    home: RunHome
    plan: StreamPlan
    train_images: CocoImages
    val_images: CocoImages
    network: YOLOX
    transferred: Transfer | None
    chosen: Chosen | None  # the checkpoint that a resumed run goes on from
    extended: bool = False  # resumed for more epochs than it began with

    @property
    def resumed(self) -> bool:
        return self.chosen is not None

    @property
    def folder(self) -> Path:
        """The driver's own."""
        return self.home.folder

    @property
    def images(self) -> dict[str, CocoImages]:
        """By split: "train" and "val"."""
        return {"train": self.train_images, "val": self.val_images}

    @property
    def warnings(self) -> list[str]:
        """What of the data will not do what its owner may expect."""
        nothing = nothing_to_find(self.val_images.dataset)
        return nothing_to_learn(self.train_images.dataset) + ([nothing] if nothing else [])


def prepare(
    config: Config, *, resume: bool | Chosen, extend: bool = False, drawing: Callable[[int, int], None] | None = None
) -> Prepared:
    """Check a training in the order settings, model, data. Raises a RayoxError of what is wrong.

    resume is the checkpoint to go on from, or whether its newest is to be chosen here. A run that is finished is taken
    again only to be extended.

    drawing is told (done, total) while the embedded data set is drawn.
    """
    check_names(config)
    check_lasting(config)
    home = open_runs(config.storage).home(config.name)
    with storage_errors(str(home), "read"):
        chosen = _check_name(home, resume, extend)
    init = None if chosen else config.model.init  # a resumed run has its weights in its checkpoints
    if init:
        new_model(config.model.size, ("any",), init, config.train.seed)
    load = partial(resolve_split, state=state_folder(), progress=drawing)
    train, train_images = load(str(config.data.train.annotations), config.data.train.images)
    val, val_images = load(str(config.data.val.annotations), config.data.val.images)
    refuse_unfit(train, val)
    network, transferred = new_model(config.model.size, train.classes, init, config.train.seed)
    plan = stream_plan(config, len(train))
    if chosen:
        check_same_data(home, chosen.facts.config, config, {"train": train_images, "val": val_images})
        _check_same_stream(home.name, chosen.facts, plan)
    return Prepared(config, home, plan, train_images, val_images, network, transferred, chosen, extend)


def check_lasting(config: Config) -> None:
    """A Ray job's copy of a working folder goes when the job has ended, and all that was written there."""
    if not is_remote(config.storage or "") and is_thrown_away(runs_folder(config.storage)):
        raise ConfigError(
            f"storage: {runs_folder(config.storage)} is this Ray job's own copy of a folder, which Ray removes with it",
            "set storage=… to a bucket or a folder that all machines have, and RAYOX_STATE to a folder that stays",
        )
    if config.tracking.uri is None and is_thrown_away(state_folder()):
        raise ConfigError(
            f"RAYOX_STATE: MLflow's store would be in {state_folder()}, this Ray job's own copy of a folder, which Ray "
            "removes with it",
            "set tracking.uri=… to a server, or RAYOX_STATE to a folder that stays",
        )


def _check_name(home: RunHome, resume: bool | Chosen, extend: bool) -> Chosen | None:
    """The checkpoint that a resumed run goes on from."""
    chosen = resume if isinstance(resume, Chosen) else home.checkpoints.choose()
    runs = str(home).removesuffix(f"/{home.name}")
    if chosen and not resume:
        raise ConfigError(
            f"name: there is a run {home.name} in {runs} already",
            f"give another --name, or resume it with --resume {home.name}",
        )
    if resume and not chosen:
        raise ConfigError(f"--resume {home.name}: no run of that name has a checkpoint in {runs}", "check the name")
    if home.shared.has(RESULT) and not extend:
        raise ConfigError(f"--resume {home.name}: this run is finished", "start a new one under another --name")
    return chosen


def _check_same_stream(name: str, facts: Facts, plan: StreamPlan) -> None:
    """Raises DataError when the stream of a run would not go on as it began: other images, or another rayox."""
    if not facts.stream:  # a checkpoint of format 1 does not say
        return
    now = plan.position(facts.step)
    other = [f"{key} was {value} and is {now.get(key)}" for key, value in facts.stream.items() if now.get(key) != value]
    if other:
        raise DataError(
            f"the training stream of {name} cannot continue where it stopped: {', '.join(other)}",
            "bring back the annotations it began with and the same rayox, or start a new run under another --name",
        )
