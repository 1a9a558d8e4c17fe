"""MLflow as rayox uses it: it sends no telemetry, prints nothing of its own, and never waits for minutes."""

import logging
import os
import sys

ENVIRONMENT = {  # for whoever has not set them
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # a line for each of a dozen small files
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # which has the result alone
    "MLFLOW_UV_AUTO_DETECT": "false",  # a user's uv.lock says nothing about a detector
    # An unreachable server must not hold a command for minutes; and a retried request to make a run would make two.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
LOGGERS = ("mlflow.store.db.utils", "alembic")  # each new table is not news to a user


def quiet_mlflow() -> None:
    """Settle this process's MLflow, whether it has been imported yet or not."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    if "mlflow" in sys.modules:  # it made its telemetry client when it was imported, and has used it for nothing yet
        from mlflow.telemetry import set_telemetry_client

        set_telemetry_client()
