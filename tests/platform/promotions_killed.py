"""A promotion in a process of its own, which ends itself before or after its n-th write to MLflow: for the tests.

python promotions_killed.py STATE NAME PREDECESSOR ONNX NUMBER before|after
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from promotion_drafts import publish_draft

WRITES = (
    "create_run",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "log_outputs",
    "log_batch",
    "log_artifact",
    "log_artifact",
    "set_tag",
    "create_registered_model",
    "create_model_version",
    "set_registered_model_alias",
    "set_tag",
    "set_tag",
    "set_tag",
    "set_terminated",
)
"""The calls of a promotion that change something in MLflow, in their order."""
COMMIT = WRITES.index("create_model_version") + 1


def arm(number: int, when: str) -> None:
    """Let the n-th write, from 1, be the last thing this process does, or the first that it does not."""
    seen: list[str] = []

    def watched(name: str) -> Any:
        original = getattr(MlflowClient, name)

        def call(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            assert seen == list(WRITES[: len(seen)]), seen
            mine = len(seen) == number
            if mine and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return original(self, *args, **kwargs)
            finally:  # also of a call that is refused, as that for a name that is there
                if mine:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call

    for name in set(WRITES):
        setattr(MlflowClient, name, watched(name))


if __name__ == "__main__":
    state, name, predecessor, onnx, number, when = sys.argv[1:]
    from rayox_platform.models.champion import EXPERIMENT
    from rayox_platform.track.tracking import connect

    connect(None, Path(state), EXPERIMENT)
    arm(int(number), when)
    publish_draft(name, int(predecessor), Path(onnx), Path(state))
