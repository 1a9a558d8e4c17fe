"""Running a campaign from the command line: its plan, its trials as lines, its end as a table."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rayox.console import Console
from rayox.progress import progress_of_data
from rayox_model.core.errors import RayoxError
from rayox_platform.ray_internals.first_call import ray_imported
from rayox_platform.tune.campaign_file import LoadedCampaign

if TYPE_CHECKING:
    from rayox_platform.config.tree import Config
    from rayox_platform.resources.machines import Cluster
    from rayox_platform.tune.driver import Driver
    from rayox_platform.tune.home import CampaignHome
    from rayox_platform.tune.opening import Data
    from rayox_platform.tune.planner import Plan
    from rayox_platform.tune.state import State

OVER = "finished"


def show_plan(console: Console, loaded: LoadedCampaign, address: str | None) -> None:
    """What it will take, without starting anything."""
    from rayox_platform.tune.opening import read_data
    from rayox_platform.tune.planner import plan

    loaded.base.require("data.train.annotations", "data.val.annotations")
    with progress_of_data() as drawing:
        data = read_data(loaded.base.config, drawing)
    _warn(console, loaded, data)
    found = plan(
        loaded.campaign,
        loaded.base.config,
        _machines(address),
        num_images=len(data.train),
        block_bytes=data.block_bytes(loaded.base.config),
    )
    console.text(describe(found))
    console.result(found.as_json())


def _warn(console: Console, loaded: LoadedCampaign, data: "Data") -> None:
    for warning in data.warnings(loaded.campaign):
        console.note(f"warning: {warning}")


def describe(found: "Plan") -> str:
    cost = f", at a cost of {found.cost:g}" if found.cost is not None else ""
    workers = f"{found.workers_per_trial} worker{'s' if found.workers_per_trial > 1 else ''}"
    again = f", and {found.confirmations} whole trainings to confirm the best" if found.confirmations else ""
    return (
        f"{found.trials} trials of about {found.epochs} epochs in all, {found.concurrency} at a time in {found.waves} "
        f"waves{again}\n{workers} a trial, each with {found.device}{found.cpus_per_worker:g} CPU; "
        f"about {found.duration}{cost}; ends by {found.budget}"
    )


def _machines(address: str | None) -> "Cluster":
    """This machine, idle; or the cluster at an address, or at that of RAY_ADDRESS."""
    from rayox_cluster.address import cluster_address
    from rayox_platform.resources.machines import Room, cluster_of

    if cluster_address(address).text is None:
        return cluster_of(Room(max(os.cpu_count() or 1, 2)))
    from rayox_cluster.local import ray_session
    from rayox_platform.resources.connected import connected_cluster

    with ray_session(address):
        return connected_cluster()


def tune(
    loaded: LoadedCampaign,
    console: Console,
    *,
    resume: bool = False,
    extend: int = 0,
    warm_from: str | None = None,
    address: str | None = None,
) -> "State":
    """Run a campaign to its end, or on from where it stands; where it stands then. Raises a RayoxError."""
    from rayox_platform.train.prepare import check_lasting
    from rayox_platform.tune.home import campaign_home, find_campaign
    from rayox_platform.tune.ledger import read_state
    from rayox_platform.tune.opening import open_ledger, read_data, trial_config
    from rayox_platform.tune.resuming import changed_budget, check_same

    loaded.base.require("data.train.annotations", "data.val.annotations")
    config, campaign = loaded.base.config, loaded.campaign
    check_lasting(config)
    home = campaign_home(config.storage, campaign.name)
    earlier = read_state(find_campaign(config.storage, warm_from).journal()) if warm_from else None
    base = trial_config(campaign, config, home.storage)
    with home.claim():
        begun = home.is_begun() if resume else False
        if begun:
            check_same(read_state(home.journal()), campaign, base, loaded.given)
        with progress_of_data() as drawing:
            data = read_data(config, drawing)
        _warn(console, loaded, data)
        ledger = open_ledger(
            home,
            campaign,
            base,
            data,
            resume=resume,
            extend=extend,
            budget=changed_budget(campaign, loaded.given) if begun else None,
            tell=console.note,
        )
        from rayox_platform.config.tree import Config
        from rayox_platform.tune.driver import Driver

        driver = Driver(ledger, Config.model_validate(dict(ledger.state.config)), home, earlier, Lines(console).show)
        with _tracked(config, home, console):
            return _drive(driver, data, console, address)


@contextmanager
def _tracked(config: "Config", home: "CampaignHome", console: Console) -> Iterator[None]:
    """MLflow beside it, which has to answer at the start and may be away later."""
    from rayox_platform.storage.state import state_folder
    from rayox_platform.track.tracking import connect
    from rayox_platform.tune.mirror import mirrored, send_rest

    tracking = config.tracking
    store = connect(tracking.uri, state_folder(), tracking.experiment)
    with mirrored(home, store, tracking.flush_seconds, console.note) as mirror:
        try:
            yield
        finally:
            send_rest(mirror, home, tracking.flush_seconds, console.note)


def _drive(driver: "Driver", data: "Data", console: Console, address: str | None) -> "State":
    """Until nothing is left to do; however it ends, the ledger says so."""
    from rayox_cluster.local import ray_session
    from rayox_platform.tune.records import Ended

    status, why = "failed", "internal error"
    try:
        with ray_session(address, worker_environment={"OMP_NUM_THREADS": "1"}, local_environment=ray_imported()):
            from rayox_platform.tune.running import run_campaign

            run_campaign(driver, data, console.note)
            from rayox_platform.tune.driver import STOPPED
        status, why = "stopped" if driver.over == STOPPED else OVER, driver.over
    except KeyboardInterrupt:
        status, why = "interrupted", "interrupted"
        console.note(f"stopped; the same command with --resume resumes {driver.state.campaign.name}")
        raise
    except RayoxError as error:
        why = error.message
        raise
    finally:
        driver.ledger.tell(Ended(status=status, why=why))
    return driver.state


@dataclass
class Lines:
    """A line on standard error for each epoch of a trial and each end of one."""

    console: Console
    said: set[tuple[int, str, int]] = field(default_factory=set)

    def show(self, state: "State") -> None:
        for trial in state.trials:
            key = (trial.number, trial.state, trial.epoch)
            if key in self.said or trial.state == "planned":
                continue
            self.said.add(key)
            self.console.note(self._line(state, trial.number))

    def _line(self, state: "State", number: int) -> str:
        trial = state.trials[number]
        best = state.best
        score = trial.reports[trial.epoch].get(state.campaign.first_metric) if trial.epoch else None
        parts = [time.strftime("%H:%M:%S"), f"trial {number}", trial.state, f"epoch {trial.epoch}/{state.epochs}"]
        if score is not None:
            parts.append(f"{state.campaign.first_metric} {score:.4f}")
        if trial.why:
            parts.append(trial.why)
        if best:
            parts.append(f"best: trial {best.number}")
        return "  ".join(parts)


def show_result(console: Console, state: "State") -> None:
    from rayox_platform.tune.table import cells, columns, rows, summary

    metric = state.campaign.first_metric
    console.table(("trial", "state", "epoch", metric, *columns(state), ""), [cells(state, one) for one in rows(state)])
    best = state.best
    if best:
        console.text(f"best        trial {best.number} (run {best.run}): {metric} {state.sign * state.score(best):.4f}")
    if state.confirmed:
        console.text(str(state.confirmed.get("sentence", "")))
    console.text(f"epochs      {state.epochs_trained} in {state.driven_seconds / 60:.1f} minutes")
    console.text(f"report      rayox tune report {state.campaign.name}")
    console.result(summary(state))
