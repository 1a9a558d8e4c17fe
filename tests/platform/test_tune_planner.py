"""The planner: no campaign it lets through can wait forever, and its numbers are those of a hand's reckoning."""

import time

import pytest

from rayox_model.core.errors import ClusterError
from rayox_platform.config.tree import Config
from rayox_platform.resources.machines import Cluster, Machine, Room, cluster_of
from rayox_platform.train.fitting import scaling
from rayox_platform.tune.campaign import Campaign
from rayox_platform.tune.planner import expected, most_at_once, plan, trial_capacity
from rayox_platform.tune.tuner import resources

BLOCK = 1_000_000
GIB = 2**30


def config(**train):
    section = {"epochs": 9, "closing_epochs": 3, "warmup_epochs": 1, "batch_size": 16} | train
    return Config.model_validate({"image_size": 96, "model": {"size": "nano"}, "train": section})


def campaign(**settings):
    space = {"assigner.top_k": {"int": [5, 20]}, "loss.iou": {"log": [1, 20]}}
    return Campaign.model_validate({"space": space, "budget": {"trials": 8}} | settings)


def planned(cluster, settings=None, **train):
    return plan(settings or campaign(), config(**train), cluster, num_images=512, block_bytes=BLOCK)


def test_on_two_cores_trials_of_one_and_of_two_workers_find_room_one_at_a_time_or_more():
    for workers in (1, 2):
        found = planned(cluster_of(Room(2)), workers=workers)
        assert found.fits
        assert found.concurrency >= 1
        used = found.concurrency * workers * found.cpus_per_worker
        assert used + found.concurrency <= 2 + 1e-6, "each stream keeps a CPU for its data"


def planned_or_refused(cluster):
    """Eight trials of two workers on two CPUs: one at a time, or not at all where each worker wants a whole CPU."""
    asked = campaign(schedule={"kind": "none"}, confirm={"top": 0})
    found = planned(cluster, asked, workers=2)
    assert (found.trials, found.concurrency, found.waves) == (8, 1, 8)
    assert found.workers_per_trial * found.cpus_per_worker + 1 <= 2
    with pytest.raises(ClusterError, match="2 workers at 1 CPU and 1 CPU for data need 3 CPUs, but 2 are free"):
        planned(cluster, asked, workers=2, cpus_per_worker=1.0)


def test_the_numbers_with_which_ray_tune_waits_forever_are_limited_or_refused():
    planned_or_refused(cluster_of(Room(2)))


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({}, "budget.trials"),
        ({"budget": {"trials": 24}, "schedule": {"kind": "pbt", "population": 4}}, "schedule.population"),
        ({"budget": {"trials": 24}, "search": {"kind": "grid", "points": 2}}, "the points of the grid"),
        ({"budget": {"trials": 24, "epochs": 30}, "schedule": {"kind": "pbt"}}, "budget.epochs"),
        ({"budget": {"trials": 24, "hours": 1e-6}, "schedule": {"kind": "pbt"}}, "budget.hours"),
    ],
)
def test_what_ends_it_first_is_named(settings, ends):
    assert planned(cluster_of(Room(4)), campaign(**settings)).budget == ends


def test_concurrency_grows_with_the_machines_and_never_exceeds_what_is_asked():
    assert planned(cluster_of(Room(16)), cpus_per_worker=1.0).concurrency == 8
    assert planned(cluster_of(*[Room(4)] * 3), cpus_per_worker=2.0).concurrency == 4
    assert planned(cluster_of(*[Room(64)] * 8)).concurrency == 8, "no more than there are trials"
    assert planned(cluster_of(*[Room(64)] * 8), campaign(concurrency=3)).concurrency == 3
    assert planned(cluster_of(Room(64, 4))).concurrency == 4, "a GPU each"


def test_trials_keep_to_their_nodes_and_their_data_to_its_own():
    """Two machines of 4 CPUs for trials, one of 2 for the data, and a large one that is neither's."""
    kinds = {"first": (4, "train"), "second": (4, "train"), "third": (2, "data"), "other": (64, "head")}
    machines = (Machine(name, Room(has), Room(has), (("role", role),)) for name, (has, role) in kinds.items())
    cluster = Cluster(tuple(machines))

    def nodes(train=None, data=None, **more):
        base = config(**more)
        return base.model_copy(
            update={
                "train": base.train.model_copy(update={"nodes": train}),
                "data": base.data.model_copy(update={"nodes": data}),
            }
        )

    def at_once(settings):
        found = plan(campaign(), settings, cluster, num_images=512, block_bytes=BLOCK)
        assert found.concurrency == most_at_once(campaign(), settings, cluster, BLOCK)
        assert trial_capacity(settings, cluster, BLOCK, found.concurrency).cpus_per_worker == found.cpus_per_worker
        return found.concurrency

    whole = {"cpus_per_worker": 1.0}
    assert at_once(nodes(**whole)) == 8
    assert at_once(nodes("role=train", **whole)) == 8, "the data finds room on the large one"
    assert at_once(nodes("role=train", "role=data", **whole)) == 2, "a stream wants a CPU, and two are there"
    assert at_once(nodes("role=train", "role=train", **whole)) == 4
    with pytest.raises(
        ClusterError, match=r"train\.workers: 3 workers at 4 CPU do not fit on the nodes of train\.nodes"
    ):
        at_once(nodes("role=train", None, workers=3, cpus_per_worker=4.0))
    with pytest.raises(ClusterError, match=r"train\.nodes: no node has role=gpu; labels there are: role=data"):
        at_once(nodes("role=gpu"))


def test_small_models_share_gpus():
    """Two machines of two GPUs: a quarter each makes sixteen places, and 0.4 fits on a GPU twice."""
    cluster = cluster_of(*[Room(64, 2)] * 2)
    many = campaign(budget={"trials": 40}, schedule={"kind": "none"}, confirm={"top": 0})
    assert planned(cluster, many).concurrency == 4
    found = planned(cluster, many, gpus_per_worker=0.25)
    assert (found.concurrency, found.waves, found.gpus_per_worker) == (16, 3, 0.25)
    assert planned(cluster, many, gpus_per_worker=0.4).concurrency == 8
    assert planned(cluster, many, gpus_per_worker=0.25, workers=2).concurrency == 8
    assert planned(cluster_of(Room(64)), many, gpus_per_worker=0.25).gpus_per_worker == 0, "without GPUs on CPUs"
    with pytest.raises(ClusterError, match=r"4 workers want 0\.5 of a GPU each"):
        planned(cluster_of(Room(64, 1)), many, workers=4, gpus_per_worker=0.5)


def test_gpu_hours_end_a_campaign_by_what_it_has_of_the_gpus():
    cluster = cluster_of(Room(64, 2))
    short = campaign(schedule={"kind": "none"}, budget={"trials": 8, "gpu_hours": 0.001}, confirm={"top": 0})
    whole = planned(cluster, short, gpus_per_worker=1.0)
    assert (whole.budget, whole.hours) == ("budget.gpu_hours", pytest.approx(0.001 / 2, abs=1e-3))
    assert planned(cluster_of(Room(64)), short).budget == "budget.trials"


@pytest.mark.parametrize("workers", [1, 2])
def test_ray_is_asked_for_that_part_of_a_gpu(workers):
    """By the trial itself if it is its only worker, else by its workers, and the trial only waits for them."""
    settings = config(workers=workers, gpus_per_worker=0.25)
    given = trial_capacity(settings, cluster_of(Room(16, 1)), BLOCK, 2)
    of_trial, of_workers = resources(given), scaling(settings, given)
    if workers == 1:
        assert of_trial.required_resources["GPU"] == 0.25
    else:
        assert "GPU" not in of_trial.required_resources
        assert of_workers.num_workers == 2
    assert of_workers.use_gpu
    assert of_workers.resources_per_worker["GPU"] == 0.25
    assert of_workers.total_resources["GPU"] == 0.25 * workers


def test_what_all_at_once_get_is_what_each_of_them_gets():
    given = trial_capacity(config(workers=2), cluster_of(Room(16)), BLOCK, 4)
    assert (given.workers, given.fewest_workers) == (2, 2)
    assert 8 * given.cpus_per_worker + 4 <= 16 + 1e-6


def test_what_does_not_fit_at_all_is_refused_with_the_numbers():
    with pytest.raises(ClusterError, match="no machine has 4 CPUs for a worker"):
        planned(cluster_of(*[Room(2)] * 3), cpus_per_worker=4.0)
    with pytest.raises(ClusterError, match="2 workers want a GPU each"):
        planned(cluster_of(Room(16, 1)), workers=2)


def test_epochs_are_those_of_the_schedule():
    assert expected(campaign(schedule={"kind": "none"}), 9) == (8, 72)
    assert expected(campaign(budget={"trials": 27}), 9) == (27, 27 + 9 * 2 + 3 * 6)
    assert expected(campaign(schedule={"kind": "promote", "rungs": [2]}, budget={"trials": 9}), 9) == (9, 18 + 3 * 7)
    assert expected(campaign(search={"kind": "grid", "points": 2}, schedule={"kind": "none"}), 9) == (5, 45)
    assert expected(campaign(schedule={"kind": "none"}, budget={"trials": 8, "epochs": 36}), 9) == (4, 36)
    assert expected(campaign(schedule={"kind": "pbt", "population": 4}), 9) == (4, 36)


def test_hours_and_cost_come_from_what_was_measured_where_there_is_something():
    cluster = cluster_of(Room(8))
    settings = campaign(schedule={"kind": "none"}, confirm={"top": 0}, price={"node_hour": 2.0})
    found = plan(settings, config(), cluster, num_images=512, block_bytes=BLOCK, epoch_seconds=100)
    assert found.hours_from == "measured"
    assert found.hours == pytest.approx((72 * 100 + 8 * 15) / found.concurrency / 3600, abs=1e-3)
    assert found.cost == pytest.approx(2 * found.hours, abs=0.01)
    assert planned(cluster, settings).hours_from == "estimate"
    cut = campaign(schedule={"kind": "none"}, budget={"trials": 8, "hours": 0.01})
    assert planned(cluster, cut).budget == "budget.hours"


def test_a_thousand_trials_on_many_machines_are_planned_at_once():
    cluster = cluster_of(*[Room(64, 8, 512 * GIB)] * 16, *[Room(32, 0, 128 * GIB)] * 40)
    began = time.process_time()
    found = planned(cluster, campaign(budget={"trials": 1000}, schedule={"kind": "hyperband"}))
    assert time.process_time() - began < 5, "a second on an idle machine"
    assert found.concurrency == 128
    assert found.waves == 8
