"""Connections to object stores, one a process and store, from the standard environment variables.

S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN (or a profile, or the machine's role), AWS_REGION or
AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_CA_BUNDLE. Google: GOOGLE_APPLICATION_CREDENTIALS, or
the machine's account; STORAGE_EMULATOR_HOST (host:port) names a store that asks for none.
"""

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

CONNECT_SECONDS, REQUEST_SECONDS = 10.0, 60.0
ELSEWHERE = "while the bucket is located in"  # what Arrow adds where the store has named the bucket's region
_REGION = "set AWS_REGION to the region of the bucket"
KINDS = (  # words of Arrow's messages: what to do
    ("NETWORK_CONNECTION", "the store does not answer: look at the network and at AWS_ENDPOINT_URL"),
    ("CREDENTIALS: ", "give it credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
    ("NO_SUCH_BUCKET", "make the bucket first, or name another one"),
    ("ACCESS_DENIED", "give the credentials of this environment the right to read, write, list and delete there"),
    ("INVALID_ACCESS_KEY_ID", "the access key of this environment (AWS_ACCESS_KEY_ID) is unknown to the store"),
    ("SIGNATURE", "the secret key of this environment (AWS_SECRET_ACCESS_KEY) does not fit its access key"),
    ("ExpiredToken", "the token of this environment (AWS_SESSION_TOKEN) has expired: get new credentials"),
    (ELSEWHERE, _REGION),
    ("PermanentRedirect", _REGION),
    ("AuthorizationHeaderMalformed", _REGION),
    (
        "PERMISSION_DENIED",
        "give the account of GOOGLE_APPLICATION_CREDENTIALS, or of this machine, the right to read, write, list and "
        "delete there",
    ),
    ("UNAUTHENTICATED", "set GOOGLE_APPLICATION_CREDENTIALS to the key of an account that the store knows"),
    ("OAuth2 access token", "set GOOGLE_APPLICATION_CREDENTIALS, or run where the machine has an account of its own"),
    ("redential", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or GOOGLE_APPLICATION_CREDENTIALS"),
)
WRAPPING = re.compile(
    r"^(\[Errno \d+\] )?google::cloud::Status\(| error_info=\{.*| Learn more about Google Cloud auth.*"
)  # not for readers


def bucket_filesystem(scheme: str, bucket: str, attempts: int = 1) -> "FileSystem":
    """The filesystem of "s3" or "gs"; attempts are those of each S3 request. Raises OSError where it is unreachable."""
    if scheme == "gs":
        return _google(os.environ.get("STORAGE_EMULATOR_HOST") or None)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return _s3(
        endpoint, region or (None if endpoint is None else "us-east-1"), bucket if not region else None, attempts
    )


@lru_cache(maxsize=8)
def _s3(endpoint: str | None, region: str | None, bucket: str | None, attempts: int) -> "FileSystem":
    import pyarrow.fs

    return pyarrow.fs.S3FileSystem(
        endpoint_override=endpoint,
        region=region or pyarrow.fs.resolve_s3_region(bucket),
        allow_delayed_open=True,  # a small file is one request, not three
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
        tls_ca_file_path=os.environ.get("AWS_CA_BUNDLE") or None,
        retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=attempts),  # 1: retry.py tries again
    )


@lru_cache(maxsize=2)
def _google(emulator: str | None) -> "FileSystem":
    from datetime import timedelta

    import pyarrow.fs

    patience = timedelta(seconds=CONNECT_SECONDS)
    if emulator is None:
        return pyarrow.fs.GcsFileSystem(retry_time_limit=patience)
    scheme, _, host = emulator.rpartition("://")
    return pyarrow.fs.GcsFileSystem(
        anonymous=True, scheme=scheme or "http", endpoint_override=host, retry_time_limit=patience
    )


def has_credentials() -> bool:
    """Whether this environment names credentials for S3 in one of the ways that AWS's libraries look at.

    A machine's own role is told by nothing but an answer of its metadata service.
    """
    named = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
    container = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    files = (os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), "~/.aws/config")
    return any(os.environ.get(name) for name in (*named, *container)) or any(
        os.path.exists(os.path.expanduser(path)) for path in files
    )


def explained(error: Exception, otherwise: str) -> tuple[str, str]:
    """What a store said, for readers, and what to do about it: `otherwise` where it is not a known kind."""
    said = WRAPPING.sub("", " ".join(str(error).split()))
    return said, next((todo for word, todo in KINDS if word in said), otherwise)
