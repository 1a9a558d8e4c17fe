"""The campaign of a submitted `tune`, found in its storage by the job that its ledger names as a driver."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rayox.jobs.run_places import same_place
from rayox_model.core.errors import RayoxError

if TYPE_CHECKING:
    from rayox.jobs.job_register import Submitted
    from rayox_platform.tune.campaign_home import CampaignHome
    from rayox_platform.tune.campaign_state import State


@dataclass(frozen=True)
class JobCampaign:
    home: "CampaignHome"
    storage: str | None  # as storage=… names it; None where it is this machine's own
    state: "State"
    status: str  # running, dead, or how its driver has ended

    @property
    def name(self) -> str:
        return self.home.name

    @property
    def command(self) -> str:
        """Shows it."""
        return f"rayox tune status {self.name}" + (f" storage={self.storage}" if self.storage else "")

    def __str__(self) -> str:
        trials = len(self.state.search)
        return f"{self.name} is {self.status}: {trials} trial{'' if trials == 1 else 's'}, " + (
            f"{self.state.epochs_trained} epochs"
        )


def campaign_of_job(job: "Submitted") -> JobCampaign | None:
    """None before it has begun, and where its storage cannot be read from here."""
    return next((one for one in _begun(job.storage) if job.submission_id in one.state.submissions), None)


def campaign_called(name: str, storage: str) -> JobCampaign | None:
    """That of a name in a job's storage; None as above."""
    return next((one for one in _begun(storage) if one.name == name), None)


def _begun(storage: str) -> Iterator[JobCampaign]:
    from rayox_platform.tune.ledger import read_state

    for home, place in _campaigns(storage):
        try:
            held = home.holder()  # before the ledger: a driver that ends in between has said so there
            state = read_state(home.journal())
        except (OSError, RayoxError):  # another campaign's ledger that is damaged
            continue
        yield JobCampaign(home, place, state, "running" if held else state.ended.status if state.ended else "dead")


def _campaigns(storage: str) -> "Iterator[tuple[CampaignHome, str | None]]":
    """Those of a job's storage; where that is this machine's own folder of runs, those beside it come first."""
    from rayox_platform.storage.state import runs_folder
    from rayox_platform.tune.campaign_home import campaign_home, campaign_names

    own = same_place(storage, str(runs_folder(None)))
    for place in (None, storage) if own else (storage,):
        try:
            names = campaign_names(place)
        except (OSError, RayoxError):
            continue
        for name in names:
            yield campaign_home(place, name), place
