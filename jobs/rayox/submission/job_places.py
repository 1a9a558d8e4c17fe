"""Where a job keeps what it makes and finds its data: places that every node reaches, with nothing secret in them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from rayox_cluster.cluster_record import ClusterRecord
from rayox_model.core.errors import ConfigError, DataError
from rayox_model.core.secrets import masked_address, without_secrets
from rayox_platform.config.settings import leaves, settings
from rayox_platform.config.tree import Config
from rayox_platform.storage.folders import is_remote

SPLITS = ("data.train", "data.val")
DATA = tuple(f"{split}.{part}" for split in SPLITS for part in ("annotations", "images"))
WEIGHTS = ("model.init",)
SIGNING = ("promotion.key", "promotion.certificate", "promotion.trusted_keys", "promotion.trusted_roots")
ELSEWHERE = ("shapes:", "models:/", "runs:/", "campaign:", "pkcs11:")  # drawn where it is needed, in MLflow, in a token


class Places(NamedTuple):
    """Storage and tracking of a job; None where nobody has named any."""

    storage: str | None
    tracking: str | None
    is_clusters_own: bool  # the storage is that of `cluster up`, as nobody has named another


def places_of(config: Config, record: ClusterRecord | None) -> Places:
    """What the settings say, from the command line, the environment or a file; else what the local cluster has."""
    storage = config.storage or (record.storage if record else None)
    tracking = config.tracking.uri or (record.tracking if record else None)
    return Places(storage, tracking, not config.storage and record is not None)


def shared_places(config: Config, record: ClusterRecord | None) -> tuple[str, str, bool]:
    """Places that other machines can reach. Raises ConfigError."""
    storage, tracking, own = places_of(config, record)
    if storage is None:
        raise ConfigError(
            "storage: is not set, and a job's own folder is thrown away",
            "give storage=s3://bucket/prefix (or RAYOX_STORAGE), or a folder that every node has",
        )
    check_storage(storage)
    if tracking is None:
        raise ConfigError(
            "tracking.uri: is not set, and MLflow's file would lie in the job's own folder",
            "give tracking.uri=http://… (or MLFLOW_TRACKING_URI) of a tracking server that every node reaches",
        )
    check_tracking(tracking)
    return storage, tracking, own


def check_storage(storage: str) -> None:
    """Raises ConfigError for a folder that is another one on every node."""
    if not is_shared(storage):
        raise ConfigError(
            f"storage: {storage!r} is a relative path, which is another folder on every node",
            "give s3://bucket/prefix, or the whole path of a folder that every node has",
        )


def check_tracking(uri: str) -> None:
    """Raises ConfigError for a file of one machine, and for an address with a credential, which is not repeated."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme == "sqlite" or (scheme in ("", "file") and not is_shared(uri)):
        raise ConfigError(
            f"tracking.uri: {uri} is a file of one machine",
            "give tracking.uri=http://… of a tracking server that every node reaches",
        )
    if holds_secret(uri):
        raise ConfigError(
            f"tracking.uri: has a user or password in it (at {urlsplit(uri).hostname}), and all can read a job's "
            "settings",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD on the nodes, and give the address alone",
        )


def holds_secret(text: str) -> bool:
    """Whether a credential stands in a value: in front of the @ of an address, in its query, or named as one."""
    return masked_address(text) != text or without_secrets(text) != text


def paths_of(config: Config, keys: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files and folders that settings name: those that other machines can have, and those that only this one has."""
    named = dict.fromkeys(_named(config, keys))
    shared = tuple(path for path in named if is_shared(path))
    return shared, tuple(path for path in named if path not in shared)


def check_paths(config: Config, keys: Sequence[str]) -> tuple[str, ...]:
    """The files and folders that settings name. Raises DataError for what only this machine may have."""
    shared, own = paths_of(config, keys)
    if own:
        raise local(own[0])
    return shared


def image_folders(config: Config) -> tuple[tuple[str, str], ...]:
    """(annotations, folder of their images) of each split that has both."""
    splits = (config.data.train, config.data.val)
    pairs = [(one.annotations, one.images) for one in splits]
    return tuple(dict.fromkeys((first, second) for first, second in pairs if first and second and is_shared(second)))


def is_shared(path: str) -> bool:
    """Whether it may be the same on every node: a bucket's address or a whole path."""
    return is_remote(path) or path.removeprefix("file://").startswith("/")


def local(path: str, what: str = "") -> DataError:
    return DataError(
        f"{f'{what}: ' if what else ''}{path}: lies on this machine, and a job sends no data",
        "put it where all nodes read it: `rayox data shard … s3://bucket/prefix` packs a data set; or give the whole "
        "path of a folder that every node has",
    )


def _named(config: Config, keys: Sequence[str]) -> Iterator[str]:
    values = dict(leaves(config.model_dump(mode="json"), settings()))
    for key in keys:
        value = values[key]
        for path in value if isinstance(value, list | tuple) else [value]:
            if path and not path.startswith(ELSEWHERE):
                yield path
