"""A toy training on a labelled cluster that notes, inside every data task and worker, the node it runs on.

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


def note_nodes(folder: str) -> None:
    """In each process of the cluster: what makes blocks and what trains leaves a file of its node's name."""
    from pathlib import Path

    import ray

    def noting(kind, call):
        def noted(*arguments, **named):
            node = ray.get_runtime_context().get_node_id()
            (Path(folder) / f"{kind}-{node}").touch()
            return call(*arguments, **named)

        return noted

    from rayox_platform.stream.blocks import SampleBlocks

    SampleBlocks.__call__ = noting("data", SampleBlocks.__call__)

    from rayox_platform.train import worker

    worker.train_rank = noting("train", worker.train_rank)


def hook() -> None:
    note_nodes(str(NOTES))


PHASES = {"epochs": 1, "closing_epochs": 0, "warmup_epochs": 0.5}
config = toy_config(DATA, STATE / "runs", "placed", nodes="rayox.io/role=train", **PHASES)
config = config.model_validate(
    config.model_dump() | {"data": config.data.model_dump() | {"nodes": "rayox.io/role=data"}}
)
ray.init(
    address=record.address, logging_level="ERROR", log_to_driver=False, runtime_env={"worker_process_setup_hook": hook}
)
print(train(config, lambda event: None).steps)
