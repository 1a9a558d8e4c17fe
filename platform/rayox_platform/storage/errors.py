"""What a store refuses before a run starts, as an error of the setting `storage`."""

from collections.abc import Iterator
from contextlib import contextmanager

from rayox_model.core.errors import ConfigError
from rayox_platform.storage.object_store import explained

OTHERWISE = "look at the network and at AWS_ENDPOINT_URL or STORAGE_EMULATOR_HOST"


@contextmanager
def storage_errors(address: str, doing: str) -> Iterator[None]:
    """Raise a ConfigError for an OSError within; doing is read or written."""
    try:
        yield
    except OSError as error:
        said, hint = explained(error, OTHERWISE)
        raise ConfigError(f"storage: {address} cannot be {doing} ({said})", hint) from error
