"""A toy training on a labelled cluster: every data task notes the node it runs on, and every worker tells its own.

Arguments: state folder of the cluster, folder of the toy data, folder of the notes.
"""

import os
import sys
from pathlib import Path

from rayox_cluster.cluster_record import read_record

STATE, DATA, NOTES = (Path(argument) for argument in sys.argv[1:])
record = read_record(STATE)
os.environ.update(record.access() | {"RAYOX_STATE": str(STATE), "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "120"})

import ray  # noqa: E402 - reads the environment when it is imported
from toy_runs import toy_config, train  # noqa: E402

from rayox_platform.runs.event_kinds import RunEvent, Start  # noqa: E402


def hook() -> None:
    """In each process of the cluster: what makes blocks leaves a file of its node's name."""
    from rayox_platform.stream.blocks import SampleBlocks

    make = SampleBlocks.__call__

    def noting(blocks, block):
        (NOTES / f"data-{ray.get_runtime_context().get_node_id()}").touch()
        return make(blocks, block)

    SampleBlocks.__call__ = noting


def note_workers(event: RunEvent) -> None:
    if isinstance(event, Start):
        for node in event.nodes:  # as each rank has said
            (NOTES / f"train-{node}").touch()


PHASES = {"epochs": 1, "closing_epochs": 0, "warmup_epochs": 0.5}
config = toy_config(DATA, STATE / "runs", "placed", nodes="rayox.io/role=train", **PHASES)
config = config.model_validate(
    config.model_dump() | {"data": config.data.model_dump() | {"nodes": "rayox.io/role=data"}}
)
ray.init(
    address=record.address, logging_level="ERROR", log_to_driver=False, runtime_env={"worker_process_setup_hook": hook}
)
print(train(config, note_workers).steps)
