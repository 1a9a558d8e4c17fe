"""What a store refuses before a run starts, as an error of the setting `storage`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from rayox_model.errors import ConfigError

KINDS = (  # words of Arrow's messages: what to do
    ("NO_SUCH_BUCKET", "make the bucket first, or name another one by storage=…"),
    ("ACCESS_DENIED", "give the credentials of this environment the right to read, write, list and delete there"),
    ("INVALID_ACCESS_KEY_ID", "the access key of this environment (AWS_ACCESS_KEY_ID) is unknown to the store"),
    ("SIGNATURE", "the secret key of this environment (AWS_SECRET_ACCESS_KEY) does not fit its access key"),
    ("OAuth2 access token", "set GOOGLE_APPLICATION_CREDENTIALS, or run where the machine has an account of its own"),
    ("redential", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or GOOGLE_APPLICATION_CREDENTIALS"),
)
OTHERWISE = "look at the network and at AWS_ENDPOINT_URL or STORAGE_EMULATOR_HOST"
WRAPPING = re.compile(
    r"^google::cloud::Status\(| error_info=\{.*| Learn more about Google Cloud auth.*"
)  # not for readers


@contextmanager
def storage_errors(address: str, doing: str) -> Iterator[None]:
    """Raise a ConfigError for an OSError within; doing is read or written."""
    try:
        yield
    except OSError as error:
        said = WRAPPING.sub("", " ".join(str(error).split()))
        hint = next((todo for word, todo in KINDS if word in said), OTHERWISE)
        raise ConfigError(f"storage: {address} cannot be {doing} ({said})", hint) from error
