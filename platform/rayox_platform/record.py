"""The MLflow run of a training: what is written when it opens, and the status it ends with."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.prepare import Prepared
from rayox_platform.state import state_folder
from rayox_platform.tracking import Tracking, open_run

PACKAGES = ("rayox", "torch", "ray", "mlflow", "opencv-python-headless", "numpy")


@contextmanager
def recorded(prepared: Prepared) -> Iterator[Tracking]:
    """Open the run, or the one of that name again, and end it as FINISHED, KILLED or FAILED. Raises TrackingError."""
    config = prepared.config
    tracking = open_run(
        config.tracking.uri, state_folder(), config.tracking.experiment, config.name, _params(config), _tags(prepared)
    )
    try:
        yield tracking
    except KeyboardInterrupt:
        tracking.finish("KILLED")
        raise
    except BaseException:
        tracking.finish("FAILED")
        raise
    tracking.finish("FINISHED")


def _params(config: Config) -> dict[str, str]:
    return {key: str(value) for key, value in leaves(config.model_dump(mode="json"), settings())}


def _tags(prepared: Prepared) -> dict[str, str]:
    dataset = prepared.train_images.dataset
    return {
        "classes": ", ".join(dataset.classes),
        "images": str(len(dataset)),
        "python": platform.python_version(),
        **{f"version.{name}": version(name) for name in PACKAGES},
    }
