"""A campaign before its first trial: checked against its data and the cluster, planned, and written down."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rayox_model.core.errors import ConfigError
from rayox_platform.config.tree import Config
from rayox_platform.data.coco import CocoDataset
from rayox_platform.data.enough import nothing_to_learn, refuse_unfit
from rayox_platform.data.images import CocoImages
from rayox_platform.data.resolve import resolve_split
from rayox_platform.data.shards import is_sharded
from rayox_platform.runs.journal import say_nothing
from rayox_platform.storage.errors import storage_errors
from rayox_platform.storage.state import state_folder
from rayox_platform.train.same_data import check_same_data
from rayox_platform.train.stream_blocks import block_bytes, stream_plan
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.campaign_home import CampaignHome
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger import Ledger, read_state
from rayox_platform.tune.ledger_records import Extended, Opened
from rayox_platform.tune.place import keep_annotations, moved
from rayox_platform.tune.resuming import changes, weights_digest
from rayox_platform.tune.rungs import brackets, interval
from rayox_platform.tune.space_check import with_values
from rayox_platform.tune.split import nothing_to_score, part_of, parts

Drawing = Callable[[int, int], None]


@dataclass(frozen=True)
class Data:
    """What a campaign's trials learn from and are measured on."""

    train_images: CocoImages
    val_images: CocoImages

    @property
    def train(self) -> CocoDataset:
        return self.train_images.dataset

    @property
    def val(self) -> CocoDataset:
        return self.val_images.dataset

    @property
    def images(self) -> dict[str, CocoImages]:
        """By split: "train" and "val"."""
        return {"train": self.train_images, "val": self.val_images}

    def warnings(self, campaign: Campaign) -> list[str]:
        """What of the data will not do what its owner may expect."""
        return nothing_to_learn(self.train) + nothing_to_score(self.val, campaign.confirm)

    def block_bytes(self, config: Config) -> int:
        return block_bytes(config, stream_plan(config, len(self.train)))


def read_data(config: Config, drawing: Drawing | None = None) -> Data:
    """Check the weights that trials start from, then the data. Raises ModelError and DataError."""
    if config.model.init:
        from rayox_platform.models.open_model import read_weights  # torch, which a plan without weights has no use for

        read_weights(config.model.init)
    train, val = (
        resolve_split(str(split.annotations), split.images, state_folder(), drawing)[1]
        for split in (config.data.train, config.data.val)
    )
    refuse_unfit(train.dataset, val.dataset)
    return Data(train, val)


def trial_config(campaign: Campaign, base: Config, storage: str) -> Config:
    """The settings that all trials share: whole paths, and an evaluation wherever a trial may be judged."""
    values: dict[str, Any] = {"storage": storage, "train.evaluate_every": _evaluations(campaign, base)}
    values["train.spares"] = False  # a process more for each trial, to save seconds after a fault
    values["train.workers"] = [base.train.workers[1]] * 2  # a trial's loss must not depend on who else is there
    if base.model.init and Path(base.model.init).exists():
        values["model.init"] = str(Path(base.model.init).absolute())
    for split in ("train", "val"):
        for name in ("annotations", "images"):
            value = getattr(getattr(base.data, split), name)
            if value and "://" not in value and not value.startswith("shapes:"):
                values[f"data.{split}.{name}"] = str(Path(value).expanduser().absolute())
    return with_values(base, values)


def _evaluations(campaign: Campaign, base: Config) -> int:
    """Epochs between two: as the recipe has it where all judgements fall on them, else one."""
    schedule, epochs, every = campaign.schedule, base.train.epochs, base.train.evaluate_every
    if schedule.kind == "none":
        return every
    if schedule.kind in ("median", "pbt"):
        return every if interval(schedule, epochs) % every == 0 else 1
    judged = {rung for steps in brackets(schedule, epochs) for rung in steps}
    return every if all(rung % every == 0 for rung in judged) else 1


@dataclass(frozen=True)
class Call:
    """What a call of `rayox tune` says beside the campaign itself."""

    resume: bool = False
    extend: int = 0  # trials more than it had
    given: frozenset[str] | None = None  # settings of the command line (see LoadedCampaign); None: nothing changes
    warm_from: str = ""  # the campaign that a new one learns from
    earlier: State | None = None  # where that one stands


def open_ledger(
    home: CampaignHome,
    campaign: Campaign,
    base: Config,
    data: Data,
    call: Call,
    tell: Callable[[str], None] = say_nothing,
) -> Ledger:
    """The ledger of a claimed campaign, new or resumed. Raises ConfigError, and DataError for a damaged one."""
    with storage_errors(str(home), "read"):
        there = home.is_begun()
        begun = there and read_state(home.journal()).num_records > 0  # else a driver was killed at the first record
    if begun and not call.resume:
        raise ConfigError(
            f"name: there is a campaign {home.name} already in {home}",
            f"go on with it by --resume or --extend, or give another --name; `rayox tune report {home.name}` shows it",
        )
    if call.resume and not there:
        option = "--extend" if call.extend else "--resume"
        raise ConfigError(f"{option}: there is no campaign {home.name} in {home}", f"leave {option} out to begin it")
    with storage_errors(str(home), "written"):
        ledger = Ledger(home.journal(tell), tell)
        if begun:
            _find_again(ledger, home, campaign, base, data, call)
            if call.given is not None:
                _change(ledger, campaign, call.given, tell)
        else:
            keep_annotations(home.shared, data.images)
            ledger.tell(_opened(home, campaign, base, data, call))
        if call.extend:
            _extend(ledger, call.extend, tell)
        ledger.take_over()
        home.take_back_stop()
    return ledger


def _opened(home: CampaignHome, campaign: Campaign, base: Config, data: Data, call: Call) -> Opened:
    """The first record of a new campaign."""
    return Opened(
        campaign=campaign.model_dump(mode="json"),
        config=base.model_dump(mode="json"),
        version=version("rayox"),
        data=_parts(home, campaign, base, data),
        weights=weights_digest(base.model.init),
        warm_from=call.warm_from,
        warm_records=call.earlier.num_records if call.earlier else 0,
        given=None if call.given is None else sorted(call.given),
    )


def _find_again(ledger: Ledger, home: CampaignHome, campaign: Campaign, base: Config, data: Data, call: Call) -> None:
    """Check that a campaign's data and earlier campaign are still what they were, and write down what has moved."""
    state = ledger.state
    _check_teacher(state, home, call.warm_from)
    check_same_data(home, state.config, base, data.images)
    elsewhere = moved(state, campaign.recipe, base, _parts_here(home, base, data, state))
    if elsewhere:
        ledger.tell(elsewhere)


def _change(ledger: Ledger, campaign: Campaign, given: frozenset[str], tell: Callable[[str], None]) -> None:
    """Write down what of the campaign is different from here on, if anything is."""
    changed = changes(ledger.state, campaign, given, tell)
    in_budget = changed.pop("budget", {})
    if in_budget or changed:
        ledger.tell(Extended(budget=in_budget, changed=changed, given=sorted(given)))


def _extend(ledger: Ledger, extend: int, tell: Callable[[str], None]) -> None:
    from rayox_platform.tune.extending import extension  # Optuna, which a plan has no use for

    longer = extension(ledger.state, extend, tell)
    if longer:
        ledger.tell(longer)


def _check_teacher(state: State, home: CampaignHome, warm_from: str) -> None:
    """Raises ConfigError for a --warm-from that it did not begin with, if that was noted, and for one that is gone."""
    if warm_from and warm_from != state.warm_from and state.given is not None:
        began = f"with --warm-from {state.warm_from}" if state.warm_from else "without"
        raise ConfigError(
            f"--warm-from {warm_from}: {state.campaign.name} began {began}, and other trials would be asked for now",
            "leave it out to go on, or begin another campaign under another --name",
        )
    earlier_of(state, home)


def earlier_of(state: State, home: CampaignHome) -> State | None:
    """The campaign that the searcher learns from, as it stood when this one began. Raises ConfigError if it is gone."""
    if not state.warm_from:
        return None
    other = home.beside(state.warm_from)
    with storage_errors(str(other), "read"):
        if other.is_begun():
            return read_state(other.journal(), records=state.warm_records)
    raise ConfigError(
        f"{home.name} began with --warm-from {state.warm_from}, which is no longer in {other}",
        "bring that folder back: without its trials the search would ask for others",
    )


def _parts(home: CampaignHome, campaign: Campaign, base: Config, data: Data) -> dict[str, Any]:
    """Where search and confirmation find their val images; nothing when there is no confirmation."""
    indices_of = parts(data.val, campaign.confirm)
    if not indices_of:
        return {}
    images = base.data.val.images or _where(str(base.data.val.annotations), data.val_images)
    found = {}
    for name, indices in indices_of.items():
        address = home.write_json(f"val-{name}.json", part_of(data.val, indices))
        found[name] = {"data.val.annotations": address, "data.val.images": images}
    return found


def _where(annotations: str, images: CocoImages) -> str:
    """The folder of images that nobody had to name, or the shards that hold them."""
    if is_sharded(annotations):
        return annotations
    first = images.source.where(0)
    name = images.dataset.file_names[0]
    return first.removesuffix(name).rstrip("/") or "/"


def _parts_here(home: CampaignHome, base: Config, data: Data, state: State) -> dict[str, Any]:
    """The parts that a campaign has made of its val images, as they lie now."""
    images = base.data.val.images or _where(str(base.data.val.annotations), data.val_images)
    return {
        name: {"data.val.annotations": home.shared.path(f"val-{name}.json"), "data.val.images": images}
        for name in state.data
    }
