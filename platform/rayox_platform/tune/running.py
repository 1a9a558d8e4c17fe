"""A campaign on a connected Ray cluster: planned against it, run by Ray Tune, confirmed, ended."""

from collections.abc import Callable

from rayox_platform.resources.connected import connected_cluster
from rayox_platform.train.probe import check_machines
from rayox_platform.tune.budget import epoch_seconds
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.confirming import confirm
from rayox_platform.tune.driver import Driver
from rayox_platform.tune.opening import Data
from rayox_platform.tune.place import keeping_fingerprint
from rayox_platform.tune.planner import Plan, most_at_once, plan, trial_capacity
from rayox_platform.tune.tuner import run
from rayox_platform.tune.words import count


def run_campaign(driver: Driver, data: Data, say: Callable[[str], None]) -> None:
    """Raises ClusterError when not even one trial fits, and TrainingError when all have failed.

    A machine that lacks what every trial needs is named before the first one: see check_machines for what it raises.
    """
    state = driver.state
    cluster, block = connected_cluster(), data.block_bytes(driver.base)
    found = plan(
        state.campaign,
        driver.base,
        cluster,
        num_images=len(data.train),
        block_bytes=block,
        epoch_seconds=epoch_seconds(state),
    )
    say(plan_line(state, found))
    nodes = (driver.base.train.nodes, driver.base.data.nodes)
    check_machines(driver.home.shared, data.images, nodes, head=found.workers_per_trial > 1)
    concurrency = most_at_once(state.campaign, driver.base, cluster, block)
    driver.given = trial_capacity(driver.base, cluster, block, concurrency)
    driver.at_a_time, driver.say = concurrency, say
    driver.show(state)
    with keeping_fingerprint(driver.home.shared, data.images):
        run(driver, concurrency)
    driver.check_end()
    confirm(driver, say)


def plan_line(state: State, found: Plan) -> str:
    return (
        f"campaign {state.campaign.name}: {count(found.trials, 'trial')}, {found.concurrency} at a time, "
        f"each {found.workers_per_trial} × {found.device}{found.cpus_per_worker:g} CPU; "
        f"about {found.duration}"
    )
