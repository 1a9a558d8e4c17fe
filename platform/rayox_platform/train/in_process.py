"""A training of one worker in this very process: Ray Data feeds it, Ray Train has no part in it."""

from dataclasses import replace

import ray
import torch

from rayox_model.checkpoint.checkpoint_folder import step_of
from rayox_platform.resources.data_room import share_for_data
from rayox_platform.resources.demand import Capacity
from rayox_platform.resources.node_labels import selector
from rayox_platform.runs.checkpoints import Chosen
from rayox_platform.runs.events import Watch
from rayox_platform.stream.blocks import SampleBlocks
from rayox_platform.stream.dataset import stream_dataset
from rayox_platform.train.job import TrainJob, newest
from rayox_platform.train.worker import Rank, train_rank


def fit_in_process(job: TrainJob, given: Capacity, checkpoint: str, show: Watch) -> Chosen:
    """Like fitting.fit, with the events shown as they are written. Raises what the training raises."""
    plan = replace(job.plan, start_step=step_of(checkpoint))
    blocks = SampleBlocks(ray.put(job.train_images), plan, job.config.augment, job.engine.image_size)
    nodes = job.config.data.nodes
    share = share_for_data(given.cpus_per_data_task, nodes)
    shard = stream_dataset(blocks, share, selector(nodes)).iterator()
    device = torch.device(job.device_type)
    train_rank(job, Rank(0, 1, device, given.threads_per_worker), shard, checkpoint, watch=show)
    return newest(job)
