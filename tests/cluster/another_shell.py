"""Command lines as from another shell, that knows the state folder and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

from rayox_cluster.cluster_record import ClusterRecord


def headers(record: ClusterRecord) -> dict[str, str]:
    return {"Authorization": f"Bearer {record.token_path.read_text()}"}


def rayox(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """In another process, as from another shell; it knows nothing but the state folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RAYOX_", "MLFLOW_"))}
    command = [sys.executable, "-m", "rayox", *words]
    environment = kept | {"RAYOX_STATE": str(state)}
    return subprocess.run(command, capture_output=True, text=True, cwd=state, env=environment, check=False)
