"""What is wrong with a store is told apart: away, no bucket, no key, an unknown or a wrong one, no right, no driver."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from object_store import make_bucket, moto_store, point_to, store

from rayox_model.core.errors import ConfigError, DataError, ModelError, TrackingError
from rayox_platform.data.coco import read_coco
from rayox_platform.data.source import folder_source
from rayox_platform.models.open_model import read_weights
from rayox_platform.runs.places import open_runs
from rayox_platform.storage import object_store, retry
from rayox_platform.storage.folders import open_folder
from rayox_platform.track.tracking import check_store, connect

Keys = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[str, Keys]]:
    """A store that checks who asks: its address, and the keys of one who may all and of one who may nothing."""
    with moto_store() as address:
        make_bucket(address)
        with store(address).open_output_stream("bucket/coco/val.json") as file:
            file.write(b"{}")
        iam = boto3.client(
            "iam",
            endpoint_url=f"http://{address}",
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        keys = {}
        for name in ("all", "nothing", "reader"):
            iam.create_user(UserName=name)
            made = iam.create_access_key(UserName=name)["AccessKey"]
            keys[name] = {
                "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
            }
        for name, actions in (("all", ["*"]), ("reader", ["s3:Get*", "s3:List*", "s3:Head*"])):
            allow = {"Effect": "Allow", "Action": actions, "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
            iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
        check(address, "0")
        yield address, keys
        check(address, "inf")


def check(address: str, after: str) -> None:
    """Let the store check requests from the so many-th on."""
    request = urllib.request.Request(
        f"http://{address}/moto-api/reset-auth", after.encode(), {"Content-Type": "text/plain"}, method="POST"
    )
    urllib.request.urlopen(request).close()


WRONG = {
    "away": ({}, "bucket", "NETWORK_CONNECTION", "the store does not answer"),
    "no bucket": ({}, "bukket", "no such bucket", "make the bucket first, or name another one"),
    "no key": (None, "bucket", "CREDENTIALS: this environment has none", "set AWS_ACCESS_KEY_ID"),
    "unknown key": ({"AWS_ACCESS_KEY_ID": "AKIAX"}, "bucket", "INVALID_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID) is unknown"),
    "wrong key": ({"AWS_SECRET_ACCESS_KEY": "x"}, "bucket", "SIGNATURE", "(AWS_SECRET_ACCESS_KEY) does not fit"),
    "no right": ("nothing", "bucket", "ACCESS_DENIED", "the right to read, write, list"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", WRONG)
def test_each_is_said_for_data_images_storage_and_a_model(guarded, monkeypatch, tmp_path, what):
    address, keys = guarded
    variables, bucket, said, hint = WRONG[what]
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE", raising=False)
    point_to(monkeypatch, "127.0.0.1:1" if what == "away" else address)
    given = keys["nothing"] if variables == "nothing" else keys["all"] | (variables or {})
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    if variables is None:
        for name in given:
            monkeypatch.delenv(name)
    tries = (
        (DataError, lambda: read_coco(f"s3://{bucket}/coco/val.json")),
        (DataError, lambda: folder_source(["a.png"], f"s3://{bucket}/images", "val.json")),
        (ConfigError, lambda: open_runs(f"s3://{bucket}/runs")),
        (ModelError, lambda: read_weights(f"s3://{bucket}/runs/mine/checkpoints/step-00000001-1")),
    )
    for kind, call in tries:
        with pytest.raises(kind) as caught:
            call()
        assert said in caught.value.message, (what, kind, caught.value.message)
        assert hint in caught.value.hint, (what, kind, caught.value.hint)


def test_who_may_only_read_a_storage_is_told_before_a_run_starts(guarded, monkeypatch, tmp_path):
    address, keys = guarded
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path))
    point_to(monkeypatch, address)
    for name, value in keys["all"].items():
        monkeypatch.setenv(name, value)
    before = open_folder("s3://bucket").files()
    open_runs("s3://bucket/runs").home("mine").check_writable()
    assert open_folder("s3://bucket").files() == before
    # Arrow keeps a connection with the keys that it was made with.
    object_store._s3.cache_clear()
    for name, value in keys["reader"].items():
        monkeypatch.setenv(name, value)
    home = open_runs("s3://bucket/runs").home("mine")
    with pytest.raises(ConfigError, match=r"bucket/runs/mine cannot be written \(.*ACCESS_DENIED") as caught:
        home.check_writable()
    assert "the right to read, write, list and delete" in caught.value.hint


def xml(code: str, message: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def google(code: int, message: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "errors": [{"reason": "forbidden"}]}}).encode()


EXPIRED = xml("ExpiredToken", "The provided token has expired.")
REDIRECT = xml("PermanentRedirect", "The bucket must be addressed using the specified endpoint.")
MALFORMED = xml("AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-west-1'")
REFUSALS = [  # scheme, status, answer, region that is named with it, what is said, what to do
    ("s3", 400, EXPIRED, "", "ExpiredToken", "(AWS_SESSION_TOKEN) has expired"),
    ("s3", 301, REDIRECT, "", "PermanentRedirect", "set AWS_REGION"),
    ("s3", 400, MALFORMED, "", "expecting 'eu-west-1'", "set AWS_REGION"),
    ("s3", 301, REDIRECT, "eu-west-1", "", "set AWS_REGION"),
    ("gs", 403, google(403, "me@x has no storage.objects.list access"), "", "me@x has no", "the account of GOOGLE_APP"),
    ("gs", 401, google(401, "Invalid Credentials"), "", "Invalid Credentials", "an account that the store knows"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "status", "answer", "region", "said", "hint"), REFUSALS)
def test_what_only_real_stores_say_is_told_too(monkeypatch, scheme, status, answer, region, said, hint):
    """Arrow against a server that answers as they do; what HEAD asks has no text in its answer."""

    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", "application/xml" if scheme == "s3" else "application/json")
            self.send_header("Content-Length", str(len(answer)))
            if region:
                self.send_header("x-amz-bucket-region", region)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        do_GET = do_HEAD = do_PUT = do_POST = answer

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        point_to(monkeypatch, f"127.0.0.1:{server.server_port}")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"127.0.0.1:{server.server_port}")
        tries = (
            (DataError, lambda: read_coco(f"{scheme}://bucket/coco/val.json")),
            (DataError, lambda: folder_source(["a.png"], f"{scheme}://bucket/images", "val.json")),
            (ConfigError, lambda: open_runs(f"{scheme}://bucket/runs")),
            (ModelError, lambda: read_weights(f"{scheme}://bucket/runs/mine/checkpoints/step-00000001-1")),
        )
        for kind, call in tries:
            with pytest.raises(kind) as caught:
                call()
            assert said in caught.value.message, (kind, caught.value.message)
            assert hint in caught.value.hint, (kind, caught.value.message, caught.value.hint)
            assert "google::cloud" not in caught.value.message
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("address", ["mysql://bob:hunter2@host/db", "mssql+pyodbc://bob:hunter2@host/db"])
def test_a_database_without_its_driver_is_said_with_the_package(tmp_path, address):
    for call in (lambda: connect(address, tmp_path, "rayox"), lambda: check_store(address, tmp_path)):
        with pytest.raises(TrackingError, match="needs the Python module") as caught:
            call()
        assert caught.value.hint.startswith("pip install ")
        assert "hunter2" not in caught.value.message


@pytest.mark.slow
def test_a_dry_run_asks_the_tracking_store_as_a_start_would(tmp_path):
    with pytest.raises(TrackingError, match=r"cannot keep runs at http://127\.0\.0\.1:1"):
        check_store("http://127.0.0.1:1", tmp_path)
    check_store(None, tmp_path / "not made yet")
    check_store(f"sqlite:///{tmp_path}/new.db", tmp_path)
    assert not list(tmp_path.iterdir())
