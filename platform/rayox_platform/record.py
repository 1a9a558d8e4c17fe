"""The MLflow run of a training: what is written when it opens, while it runs, and the status it ends with."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.data.fingerprint import Fingerprint, fingerprint
from rayox_platform.data.images import CocoImages
from rayox_platform.lineage import dataset_profile, lineage_tags
from rayox_platform.prepare import Prepared
from rayox_platform.tracking import Store, Tracking, open_run

RunEvent = Mapping[str, Any]


class Record:
    """Hands a run's events on to whoever shows them and, at the ends of epochs, to MLflow; remembers the epochs."""

    def __init__(self, prepared: Prepared, tracking: Tracking, show: Callable[[RunEvent], None]) -> None:
        self.tracking = tracking
        self._show = show
        self._epochs: dict[int, Mapping[str, float]] = {}
        self.bad_images: list[str] = []
        for event in prepared.home.events.read():  # of an earlier driver, which may have died before telling MLflow
            self._keep(event)
        self.first_events: dict[str, RunEvent] = {}

    def handle(self, event: RunEvent) -> None:
        self.first_events.setdefault(event["kind"], event)
        self._show(event)
        self._keep(event)

    def mean(self, name: str) -> float:
        return sum(metrics[name] for metrics in self._epochs.values()) / max(len(self._epochs), 1)

    def _keep(self, event: RunEvent) -> None:
        """An epoch that is trained again after a restart ends as it did the first time: the first time counts."""
        if event["kind"] == "epoch" and event["epoch"] not in self._epochs:
            self._epochs[event["epoch"]] = event["metrics"]
            self.tracking.log_metrics(event["metrics"], step=event["epoch"], time_seconds=event["time"])
        elif event["kind"] == "bad_images" and event["images"] != self.bad_images:
            self.bad_images = event["images"]
            self.tracking.log_text("\n".join(self.bad_images) + "\n", "bad_images.txt")
            self.tracking.set_tags({"bad_images": str(len(self.bad_images))})


@contextmanager
def recorded(prepared: Prepared, store: Store, show: Callable[[RunEvent], None]) -> Iterator[Record]:
    """Open the run, or the one of that name again, and end it as FINISHED, KILLED or FAILED. Raises TrackingError.

    The data sets' fingerprints are taken beside the training: reading every image may take minutes.
    """
    config = prepared.config
    tracking = open_run(store, config.name, _params(config), lineage_tags(prepared.train_images.dataset.classes))
    try:
        with _fingerprinting(prepared, tracking):
            yield Record(prepared, tracking, show)
    except KeyboardInterrupt:
        tracking.finish("KILLED")
        raise
    except BaseException:
        tracking.finish("FAILED")
        raise
    tracking.finish("FINISHED")


def _params(config: Config) -> dict[str, str]:
    return {key: str(value) for key, value in leaves(config.model_dump(mode="json"), settings())}


@contextmanager
def _fingerprinting(prepared: Prepared, tracking: Tracking) -> Iterator[None]:
    splits = {"training": ("train", prepared.train_images), "evaluation": ("val", prepared.val_images)}
    over = Event()

    def go_on(*_: int) -> None:
        if over.is_set():
            raise CancelledError

    with ThreadPoolExecutor(1, thread_name_prefix="fingerprint") as pool:
        jobs = {context: pool.submit(fingerprint, images, go_on) for context, (_, images) in splits.items()}
        try:
            yield
        except BaseException:
            over.set()  # the training has failed or was stopped: nobody waits for digests
            raise
        for context, (split, images) in splits.items():
            _log_dataset(tracking, split, context, images, jobs[context])


def _log_dataset(tracking: Tracking, split: str, context: str, images: CocoImages, job: "Future[Fingerprint]") -> None:
    digest = job.result().digest
    name = f"{Path(images.dataset.source).stem} ({split})"
    tracking.log_dataset(name, digest, images.dataset.source, context, dataset_profile(images.dataset))
    tracking.set_tags({f"data.{split}.fingerprint": digest})
