"""Where a campaign and its data lie, which may be elsewhere than where it began: the data's fingerprint decides.

The campaign's folder has `fingerprint.json`, as that of a run; a trial's has the digests of its annotations alone.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event
from typing import Any

from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.data.fingerprint import annotations_digest, fingerprint
from rayox_platform.data.images import CocoImages
from rayox_platform.runs.data_record import DataRecord, read_data_record, write_data_record
from rayox_platform.storage.folders import Folder
from rayox_platform.train.changeable import CHANGEABLE
from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.ledger_records import Moved
from rayox_platform.tune.resuming import WEIGHTS

# All trials have the workers that the first had. Whom to tell, and when, is decided by each call for itself.
KEPT = frozenset(
    ("name", "train.workers", "tracking.flush_seconds", "tracking.step_seconds", "notify.url", "notify.command")
)
ADOPTED = CHANGEABLE - KEPT | {WEIGHTS}  # what trials from here on have as it is now


def moved(state: State, recipe: str, base: Config, parts: Mapping[str, Any]) -> Moved | None:
    """What is elsewhere or otherwise now, of what may be; None where nothing is. parts are as Opened.data."""
    began, now = (dict(leaves(tree, settings())) for tree in (state.config, base.model_dump(mode="json")))
    values = {key: now[key] for key in sorted(ADOPTED) if key in began and began[key] != now.get(key)}
    if not values and parts == state.data and recipe == state.campaign.recipe:
        return None
    return Moved(recipe=recipe, values=values, data=dict(parts))


def keep_annotations(files: Folder, images: Mapping[str, CocoImages]) -> None:
    """Note the digests of the annotations of what begins here, by split, for a later --resume.

    A store that is away just now keeps it out, which costs that the comparison.
    """
    with suppress(OSError):
        write_data_record(files, {split: DataRecord(annotations_digest(one.dataset)) for split, one in images.items()})


@contextmanager
def keeping_fingerprint(files: Folder, images: Mapping[str, CocoImages]) -> Iterator[None]:
    """Read all images beside what is done meanwhile, and note their digests, if no earlier driver has."""
    over = Event()

    def go_on(*_: int) -> None:
        if over.is_set():
            raise CancelledError

    def take(split: str) -> None:
        found = fingerprint(images[split], go_on)
        kept[split] = DataRecord(found.annotations, found.images)
        with suppress(OSError):
            write_data_record(files, kept)

    kept: dict[str, DataRecord] = {}
    with suppress(OSError):
        kept = read_data_record(files)
    with ThreadPoolExecutor(1, thread_name_prefix="fingerprint") as pool:
        jobs = [pool.submit(take, split) for split in images if split not in kept or not kept[split].images]
        try:
            yield
        except BaseException:
            over.set()  # nobody waits for digests of what has failed or was stopped
            raise
        for job in jobs:
            job.result()
