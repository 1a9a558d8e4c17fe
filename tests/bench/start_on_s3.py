"""From command to first step with the images in a folder and in a bucket, by turns: where the time goes.

    python tests/bench/start_on_s3.py DATA --rounds 3 --latency 0.03

DATA is a folder with annotations/instances_{train,val}.json and images/. The bucket is moto's on this machine, each of
whose answers waits as long as a store in the same region would. Prints a table of the medians, in seconds.
"""

import argparse
import http.client
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from object_store import Door, make_bucket, moto_store

SETTINGS = ["image_size=160", "train.batch_size=16", "train.epochs=1", "train.closing_epochs=0", "train.workers=2"]
SETTINGS += ["train.warmup_epochs=0.5", "train.precision=fp32"]
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "OMP_NUM_THREADS": "1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=lambda word: Path(word).resolve())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.03, help="seconds that an answer takes")
    asked = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"folder": [], "bucket": []}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # which tells of every request
    with moto_store() as address:
        make_bucket(address)
        door = Door(address)
        upload(asked.data / "images", address)
        door.refused = lambda method, path: bool(time.sleep(asked.latency))
        endpoint = {"AWS_ENDPOINT_URL": f"http://{door.address}"}
        for _ in range(asked.rounds):
            found["folder"].append(start(asked.data, str(asked.data / "images"), {}))
            before = len(door.requests)
            found["bucket"].append(start(asked.data, "s3://bucket/images", endpoint))
            print(f"{len(door.requests) - before} requests", found["folder"][-1], found["bucket"][-1], flush=True)
        door.close()
    parts = [*found["folder"][0], "all"]
    print(f"| images in a | {' | '.join(part.replace('_', ' ') for part in parts)} |")
    print("|---" * (len(parts) + 1) + "|")
    for where, runs in found.items():
        rows = [run | {"all": sum(run.values())} for run in runs]
        print(f"| {where} | {' | '.join(f'{statistics.median(row[part] for row in rows):.1f}' for part in parts)} |")


def upload(folder: Path, address: str) -> None:
    """Each image in one plain request: moto keeps the marks between the chunks of what pyarrow sends."""
    connection = http.client.HTTPConnection(address)
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/b/us-east-1/s3/c"}
    for path in folder.iterdir():
        connection.request("PUT", f"/bucket/images/{path.name}", path.read_bytes(), signed)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
    connection.close()


def start(data: Path, images: str, variables: dict[str, str]) -> dict[str, float]:
    """The parts of a run's start, in an empty folder."""
    words = [f"data.{split}.annotations={data}/annotations/instances_{split}.json" for split in ("train", "val")]
    words += [f"data.{split}.images={images}" for split in ("train", "val")]
    command = [sys.executable, "-m", "rayox", "train", "scratch", *words, *SETTINGS, "--json"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | ENVIRONMENT | variables, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])["start_seconds"]


if __name__ == "__main__":
    main()
