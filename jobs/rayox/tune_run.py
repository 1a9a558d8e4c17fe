"""Running a campaign from the command line: its plan, its panel, its end as a table."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rayox.terminal.console import Console
from rayox.terminal.progress import progress_of_data
from rayox_model.core.errors import RayoxError
from rayox_platform.ray_internals.first_call import ray_imported
from rayox_platform.tune.campaign_file import LoadedCampaign

if TYPE_CHECKING:
    from rayox_platform.config.tree import Config
    from rayox_platform.resources.machines import Cluster
    from rayox_platform.track.tracking import Store
    from rayox_platform.tune.campaign_home import CampaignHome
    from rayox_platform.tune.campaign_state import State
    from rayox_platform.tune.driver import Driver
    from rayox_platform.tune.opening import Data
    from rayox_platform.tune.planner import Plan

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
    for warning in [*loaded.campaign.cautions, *data.warnings(loaded.campaign)]:
        console.note(f"warning: {warning}")


def describe(found: "Plan") -> str:
    from rayox_platform.tune.words import count

    cost = f", at a cost of {found.cost:g}" if found.cost is not None else ""
    workers = count(found.workers_per_trial, "worker")
    again = f", and {found.confirmations} whole trainings to confirm the best" if found.confirmations else ""
    return (
        f"{count(found.trials, 'trial')} of about {count(found.epochs, 'epoch')} in all, {found.concurrency} at a time "
        f"in {count(found.waves, 'wave')}{again}\n{workers} a trial, each with {found.device}"
        f"{found.cpus_per_worker:g} CPU; about {found.duration}{cost}; ends by {found.budget}"
    )


def _machines(address: str | None) -> "Cluster":
    """This machine, idle; or the cluster at an address, or at that of RAY_ADDRESS."""
    from rayox_cluster.address import cluster_address
    from rayox_platform.resources.machines import Room, cluster_of
    from rayox_platform.resources.own_gpus import own_gpus

    if cluster_address(address).text is None:
        return cluster_of(Room(max(os.cpu_count() or 1, 2), own_gpus()))
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
    from rayox_platform.tune.campaign_home import campaign_home, find_campaign
    from rayox_platform.tune.ledger import read_state
    from rayox_platform.tune.opening import Call, earlier_of, open_ledger, read_data, trial_config
    from rayox_platform.tune.resuming import check_same
    from rayox_platform.tune.warm import check_related

    loaded.base.require("data.train.annotations", "data.val.annotations")
    config, campaign = loaded.base.config, loaded.campaign
    check_lasting(config)
    home = campaign_home(config.storage, campaign.name)
    base = trial_config(campaign, config, home.storage)
    earlier = read_state(find_campaign(config.storage, warm_from).journal()) if warm_from else None
    for note in check_related(earlier, campaign, base.model_dump(mode="json")) if earlier else ():
        console.note(f"warning: {note}")
    with home.claim():
        state = read_state(home.journal()) if resume and home.is_begun() else None
        if state and state.num_records:
            check_same(state, campaign, base, loaded.given)
        with progress_of_data() as drawing:
            data = read_data(config, drawing)
        _warn(console, loaded, data)
        store = _store(config)  # one that does not answer leaves no campaign behind that has begun nothing
        call = Call(resume, extend, loaded.given, warm_from or "", earlier)
        ledger = open_ledger(home, campaign, base, data, call, console.note)
        from rayox.terminal.campaign_panel import CampaignPanel
        from rayox_platform.config.tree import Config
        from rayox_platform.tune.driver import Driver

        whole = Config.model_validate(dict(ledger.state.config))
        with _tracked(config, store, home, console), CampaignPanel(campaign.name, console) as panel:
            driver = Driver(ledger, whole, home, earlier_of(ledger.state, home) or earlier, panel.show)
            return _drive(driver, data, console, address)


def _store(config: "Config") -> "Store":
    """MLflow, which has to answer at the start and may be away later. Raises TrackingError."""
    from rayox_platform.storage.state import state_folder
    from rayox_platform.track.tracking import connect

    return connect(config.tracking.uri, state_folder(), config.tracking.experiment)


@contextmanager
def _tracked(config: "Config", store: "Store", home: "CampaignHome", console: Console) -> Iterator[None]:
    """MLflow beside it."""
    from rayox_platform.tune.mirror import mirrored, send_rest

    tracking = config.tracking
    with mirrored(home, store, tracking.flush_seconds, console.note) as mirror:
        try:
            yield
        finally:
            send_rest(mirror, home, tracking.flush_seconds, console.note)


def _drive(driver: "Driver", data: "Data", console: Console, address: str | None) -> "State":
    """Until nothing is left to do; however it ends, the ledger says so."""
    from rayox_cluster.local import ray_session
    from rayox_platform.tune.ledger_records import Ended

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
