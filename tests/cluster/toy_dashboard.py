"""A dashboard whose jobs that ask the nodes are answered for: one sound node, or what a test lays down."""

import json
import time
from typing import Any

from played_dashboard import Dashboard

from rayox.submission.verdicts import NEEDED
from rayox_cluster.node_probe import ANSWER
from rayox_cluster.packaging import digest
from rayox_cluster.preflight import PREFIX

GIB = 2**30


def sound(node: str = "a1", **changed: object) -> dict[str, Any]:
    """What a node that is as it should be says of itself."""
    now = time.time()
    facts = {
        "host": "host",
        "python": "3.11.7",
        "packages": dict.fromkeys(NEEDED, "1.0") | {"opencv-python-headless": "4.12"},
        "rayox": {"version": "0.1.0", "digest": digest()},
        "time": now,
        "asked": now,
        "answered": now,
        "disk_free_bytes": 50 * GIB,
        "shared_memory_bytes": 8 * GIB,
        "checks": {"storage": "", "tracking": "", "paths": {}, "sizes": {}, "outputs": {}},
    }
    return {"node": node, "answer": facts | changed}


def there(node: str = "a1", is_head: bool = True) -> dict[str, Any]:
    return {"node": node, "address": "10.0.0.1", "head": is_head, "resources": {"CPU": 4}, "labels": {}}


WHOLE = ({"nodes": [there()]}, sound(), {"all_reduce": None})


class ToyDashboard(Dashboard):
    """`told` is what a job that asks the nodes says, `is_over` whether such a job has ended."""

    def __init__(self, ray_version: str = "2.60.0") -> None:
        super().__init__(ray_version)
        self.told: tuple[dict[str, Any], ...] = WHOLE
        self.is_over = True
        self.questions: list[dict[str, Any]] = []  # the jobs that have asked, kept when they are deleted

    def submit(self, submission_id: str, job: dict[str, Any]) -> None:
        super().submit(submission_id, job)
        if submission_id.startswith(PREFIX):
            self.jobs[submission_id]["status"] = "SUCCEEDED" if self.is_over else "RUNNING"
            self.questions.append(self.jobs[submission_id])

    def logs(self, submission_id: str) -> str:
        return "\n".join(ANSWER + json.dumps(one) for one in self.told)
