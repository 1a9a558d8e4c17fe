"""Credentials in texts and addresses are masked; what holds none comes back as it is."""

import pytest

from rayox_model.core.errors import ConfigError
from rayox_model.core.secrets import is_masked, masked_address, without_secrets


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("http://bob:hunter2@host:5000/x", "http://***@host:5000/x"),
        ("https://hunter2@host", "https://***@host"),
        ("postgresql://bob:hunt/er2@ho@host/db?sslmode=require", "postgresql://***@host/db?sslmode=require"),
        ("mysql+pymysql://host/db?user=bob&password=hunter2", "mysql+pymysql://host/db?user=***&password=***"),
        ("https://host/api?hunter2", "https://host/api?***"),
        ("postgresql://bob@host/db", "postgresql://bob@host/db"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////home/bob@work/mlflow.db?timeout=5", "sqlite:////home/bob@work/mlflow.db?timeout=5"),
        ("/data/bob:x@home/train.json", "/data/bob:x@home/train.json"),
        ("s3://bucket/photos/a@2x.png", "s3://bucket/photos/a@2x.png"),
    ],
)
def test_an_address_is_kept_without_its_credentials(address, kept):
    assert masked_address(address) == kept
    assert masked_address(kept) == kept
    assert is_masked(kept) == (address != kept)


@pytest.mark.parametrize(
    "text",
    [
        "API request to http://bob:hunter2@host/api failed",
        "Authorization: Bearer hunter2hunter2",
        "AWS_SECRET_ACCESS_KEY=hunter2",
        "https://b.s3.amazonaws.com/x.json?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2",
        '{"user": "bob", "password": "hunter2"}',
        "s3://AKIA:hunt/er2hunter2@bucket/prefix: no such bucket",
        "pkcs11:token=gate?module-path=/lib/p11.so&pin-value=hunter2: no such token",
        "(psycopg2) could not connect: host=db password=hunter2 user=bob",
    ],
)
def test_any_text_is_shown_without_them(text):
    assert "***" in without_secrets(text)
    assert "er2" not in without_secrets(text)
    error = ConfigError(text, f"try {text}")
    assert "er2" not in f"{error} {error.message} {error.hint} {error.args}"


@pytest.mark.parametrize(
    "text",
    [
        "train.epochs: has no value; write key=value",
        "set AWS_SECRET_ACCESS_KEY and RAY_AUTH_MODE=token",
        "s3://bucket/a@2x.png: no such image",
        "/home/me@work/data: no such folder; mail me@work.org",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert without_secrets(text) == text
