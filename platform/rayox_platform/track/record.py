"""The MLflow run of a training: what is written when it opens, while it runs, and the status it ends with."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from rayox_model.core.secrets import without_secrets
from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.config.tree import Tracking as TrackingSettings
from rayox_platform.data.fingerprint import annotations_digest, fingerprint
from rayox_platform.data.images import CocoImages
from rayox_platform.runs.data_record import DataRecord, read_data_record, write_data_record
from rayox_platform.runs.event_kinds import BadImages, Epoch, Note, Progress, RunEvent, Start
from rayox_platform.runs.events import Watch, tell_stage
from rayox_platform.runs.home import RunHome
from rayox_platform.runs.outbox import TARGET, written_entries
from rayox_platform.runs.outbox_entries import DatasetUse, Entry, Points, Status, Tags, TextFile
from rayox_platform.runs.overview import event_line
from rayox_platform.track.lineage import dataset_profile, lineage_tags
from rayox_platform.track.registry import versions
from rayox_platform.track.sender import Sender, sending
from rayox_platform.track.tracking import STORE_ERRORS, Store, open_run

CONTEXTS = {"train": "training", "val": "evaluation"}  # what a split is for, in MLflow's words
NO_CURVE = frozenset(("time", "step", "epoch", "data_seconds"))  # numbers of a progress event
STEPS = "system/step/"  # MLflow shows what begins with system/ in a table and on a page of its own
LEAST_STEP_SECONDS = 1.0
LONGEST_AFTER_FAILURE = 10.0  # seconds that a failed or stopped run waits for MLflow


class Record:
    """Hands a run's events on to whoever shows them and to MLflow, for which it only writes the outbox.

    The ends of epochs are curves by epoch; what is told in between are curves by step, thinned out.
    """

    def __init__(self, home: RunHome, sender: Sender, show: Watch, settings: TrackingSettings) -> None:
        self.sender = sender
        self._home, self._name, self._show, self._settings = home, home.name, show, settings
        self._epochs: dict[int, Mapping[str, float]] = {}
        self._step, self._step_time = 0, 0.0  # of the last point of the curves by step
        self.bad_images: Sequence[str] = ()
        self._spooled = {entry.time for entry in written_entries(home.folder) if isinstance(entry, Points)}
        for event in home.events.read():  # of an earlier driver, which may have died before it took note of them
            self._keep(event)
        self.first_start: Start | None = None
        self.first_progress: Progress | None = None

    def handle(self, event: RunEvent) -> None:
        match event:
            case Start():
                self.first_start = self.first_start or event
            case Progress():
                self.first_progress = self.first_progress or event
        self._show(event)
        self._keep(event)

    def stage(self, text: str) -> None:
        """What is done with the run after its last step."""
        tell_stage(self._home.events, text, self._show)

    def add(self, entry: Entry) -> None:
        """Tell MLflow, now or as soon as it answers."""
        self.sender.outbox.add(entry)

    def mean(self, name: str) -> float:
        return self.total(name) / max(len(self._epochs), 1)

    def total(self, name: str) -> float:
        """Over all epochs; one of an earlier rayox may not have told it."""
        return sum(metrics.get(name, 0.0) for metrics in self._epochs.values())

    def registered(self) -> str:
        """The model version that this run has become, once all is sent; empty when MLflow does not answer in time."""
        if not self._drain(self._settings.flush_seconds):
            return ""
        tracking = self.sender.tracking
        try:
            found = versions(tracking.store, f"run_id = '{tracking.run_id}'")
        except STORE_ERRORS:
            return ""
        return found[0].uri if found else ""

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED, and say what MLflow does not have yet."""
        with suppress(OSError):  # the store is away: its events come with a later sync
            lines = [event_line(event) for event in self._home.events.read() if not isinstance(event, Progress)]
            self.add(TextFile("log.txt", without_secrets("\n".join(lines)) + "\n"))
        self.add(Status(status, time.time()))
        most = self._settings.flush_seconds
        sent = self._drain(most if status == "FINISHED" else min(most, LONGEST_AFTER_FAILURE))
        outbox = self.sender.outbox
        if not sent:
            why = f": {self.sender.problem}" if self.sender.problem else ""
            self._notice(
                f"{outbox.num_unsent()} entries of the run are not in MLflow yet{why}; "
                f"`rayox runs sync {self._name}` sends them when it answers again"
            )
        if self.sender.refused:
            refused = self.sender.refused
            self._notice(f"MLflow has refused {len(refused)} entries of the run; the first: {refused[0]}")
        if outbox.lost:
            self._notice(f"{outbox.lost} entries for MLflow could not be written: is the disk full?")

    def _drain(self, seconds: float) -> bool:
        text = f"sending the rest to MLflow (at most {seconds:g} s without an answer; Ctrl-C leaves it for later)"
        return self.sender.drain(seconds, lambda: self.stage(text))

    def _notice(self, text: str) -> None:
        self._show(Note(text=text))

    def _keep(self, event: RunEvent) -> None:
        """An epoch or step that is trained again after a restart ends as it did the first time: the first counts."""
        match event:
            case Epoch(epoch=epoch, metrics=metrics) if epoch not in self._epochs:
                self._epochs[epoch] = metrics
                self._add_points(_scores_first(metrics), epoch, event.time)
                if event.time not in self._spooled:
                    self._describe(epoch, metrics)
            case Progress() if self._is_due(event):
                self._step, self._step_time = event.step, event.time
                self._add_points(_curves(event), event.step, event.time)
            case BadImages(images=images) if images != self.bad_images:
                self.bad_images = images
                self.add(TextFile("bad_images.txt", "\n".join(images) + "\n"))
                self.add(Tags({"bad_images": str(len(images))}))

    def _describe(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Let a run's page begin with its scores."""
        scores = [f"{name} {metrics[name]:.3f}" for name in ("AP", "AP50", "AP75", "AR_100") if name in metrics]
        if "AP" in metrics:
            best = max((found["AP"], at) for at, found in self._epochs.items() if "AP" in found)
            text = f"**{'  '.join(scores)}** after epoch {epoch}; best AP {best[0]:.3f} after epoch {best[1]}"
            self.add(Tags({"mlflow.note.content": text}))

    def _is_due(self, event: Progress) -> bool:
        every = self._settings.step_seconds
        since = event.time - self._step_time
        return bool(every) and event.step > self._step and since >= max(every, LEAST_STEP_SECONDS)

    def _add_points(self, metrics: Mapping[str, float], step: int, at: float) -> None:
        if at not in self._spooled:
            self.add(Points(dict(metrics), step, at))


@contextmanager
def recorded(
    config: Config,
    home: RunHome,
    images: Mapping[str, CocoImages],
    store: Store,
    show: Watch,
) -> Iterator[Record]:
    """Open the run, or the one of that name again, and end it as FINISHED, KILLED or FAILED. Raises TrackingError.

    images are those of "train" and "val".

    The store has to answer now and may be away later. The data sets' fingerprints are taken beside the training:
    reading every image may take minutes.
    """
    tracking = open_run(store, config.name, _params(config), lineage_tags(images["train"].dataset.classes))
    with sending(home.folder, tracking) as sender:
        sender.outbox.add(Status("RUNNING", time.time()))  # an earlier driver's last word may still be on its way
        _let_others_sync(home)
        record = Record(home, sender, show, config.tracking)
        try:
            with _fingerprinting(home, images, record):
                yield record
        except BaseException as error:
            record.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        record.close("FINISHED")


def _let_others_sync(home: RunHome) -> None:
    """A run in a bucket says there which MLflow run it is: any machine can send its events and end it."""
    if str(home.folder) != str(home):
        with suppress(OSError):  # the store is away, which the first checkpoint will tell
            home.shared.write(TARGET, (home.folder / TARGET).read_bytes())


def _params(config: Config) -> dict[str, str]:
    return {key: str(value) for key, value in leaves(config.model_dump(mode="json"), settings())}


def _scores_first(metrics: Mapping[str, float]) -> dict[str, float]:
    """The scores before all else: MLflow lists metrics in the order in which they first came."""
    return dict(sorted(metrics.items(), key=lambda item: not item[0].startswith(("AP", "AR"))))


def _curves(event: Progress) -> dict[str, float]:
    """Its numbers, by names that MLflow's pages show apart from a run's scores and below them."""
    numbers = {name: value for name, value in vars(event).items() if name not in NO_CURVE and value is not None}
    return {f"{STEPS}{name}": float(value) for name, value in numbers.items()}


@contextmanager
def _fingerprinting(home: RunHome, images: Mapping[str, CocoImages], record: Record) -> Iterator[None]:
    over = Event()

    def go_on(*_: int) -> None:
        if over.is_set():
            raise CancelledError

    told: set[str] = set()

    def take(split: str) -> None:
        found = fingerprint(images[split], go_on)
        kept[split] = DataRecord(found.annotations, found.images)
        _keep(home, kept)
        told.add(split)
        _tell_dataset(record, split, images[split], found.digest)
        record.add(Tags({f"data.{split}.fingerprint": found.digest}))

    kept = _known(home, images)
    _keep(home, kept)
    with ThreadPoolExecutor(1, thread_name_prefix="fingerprint") as pool:
        jobs = [pool.submit(take, split) for split in images]
        try:
            yield
        except BaseException:
            over.set()  # the training has failed or was stopped: nobody waits for digests
            for split in images.keys() - told:
                _tell_dataset(record, split, images[split], kept[split].annotations)
            raise
        for job in jobs:
            job.result()


def _tell_dataset(record: Record, split: str, images: CocoImages, digest: str) -> None:
    """digest is the whole fingerprint, or of a run that has ended before all images were read, its annotations'."""
    context = CONTEXTS[split]
    name = f"{Path(images.dataset.source).stem} ({split})"
    record.add(DatasetUse(name, digest, images.dataset.source, context, dataset_profile(images.dataset)))


def _known(home: RunHome, images: Mapping[str, CocoImages]) -> dict[str, DataRecord]:
    """Each split's record as far as it is known at the start; what an earlier driver has read of it stays."""
    before: Mapping[str, DataRecord] = {}
    with suppress(OSError):
        before = read_data_record(home.shared)
    now = {split: DataRecord(annotations_digest(of_split.dataset)) for split, of_split in images.items()}
    same = [split for split in now if split in before and before[split].annotations == now[split].annotations]
    return now | {split: before[split] for split in same}


def _keep(home: RunHome, record: Mapping[str, DataRecord]) -> None:
    """Keep it for a later --resume; a store that is away just now loses it, and nothing can be compared then."""
    with suppress(OSError):
        write_data_record(home.shared, record)
