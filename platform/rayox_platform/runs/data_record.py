"""What a run's data was, in its storage: the digests of each split's annotations and images, to know them again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from rayox_platform.storage.folders import Folder

FILE = "fingerprint.json"


@dataclass(frozen=True)
class DataRecord:
    """The digests of one split; images is empty until all of them have been read."""

    annotations: str
    images: str = ""


def read_data_record(shared: Folder) -> dict[str, DataRecord]:
    """By split; empty of a run of an earlier rayox. Raises OSError of a store that is away."""
    try:
        return {split: DataRecord(**record) for split, record in json.loads(shared.read(FILE)).items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def write_data_record(shared: Folder, record: Mapping[str, DataRecord]) -> None:
    """Raises OSError."""
    text = json.dumps({split: asdict(of_split) for split, of_split in record.items()}, indent=1)
    shared.write(FILE, text.encode())
