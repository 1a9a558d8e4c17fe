"""No thread of rayox imports anything: two that import side by side can meet half-made modules, seldom and for good."""

import os
import subprocess
import sys

import pytest
from patience import patient

WATCHED = """
import sys, threading
OURS = ("rayox-", "decode", "image", "read", "hash", "fingerprint", "ThreadPoolExecutor")

def watch(event, arguments):
    thread = threading.current_thread()
    if event == "import" and thread is not threading.main_thread() and thread.name.startswith(OURS):
        print(f"imported by {thread.name}: {arguments[0]}", file=sys.stderr, flush=True)

sys.addaudithook(watch)
from rayox.cli import main
sys.exit(main(sys.argv[1:]))
"""


def imports_of_threads(folder, *words):
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "RAYOX_STATE"} | {"OMP_NUM_THREADS": "1"},
        timeout=patient(500),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("imported by")]


@pytest.mark.slow
def test_the_threads_of_an_evaluation(checkpoint, tmp_path):
    assert imports_of_threads(tmp_path, "evaluate", checkpoint) == []


@pytest.mark.ray
@pytest.mark.faults
@pytest.mark.timeout(600)
def test_the_threads_of_a_training(toy_data, tmp_path):
    data = [f"data.{split}.annotations={toy_data}/{split}.json" for split in ("train", "val")]
    data += [f"data.{split}.images={toy_data}/images" for split in ("train", "val")]
    small = ["image_size=64", "train.epochs=1", "train.batch_size=8", "data.lanes=4", "train.workers=2"]
    phases = ["train.closing_epochs=0", "train.warmup_epochs=0"]
    assert imports_of_threads(tmp_path, "train", "scratch", *data, *small, *phases) == []


def test_an_import_of_a_thread_would_be_seen(tmp_path):
    code = 'import threading\nthreading.Thread(target=__import__, args=("this",), name="rayox-x").start()\n'
    watched = WATCHED.replace("from rayox.cli import main\nsys.exit(main(sys.argv[1:]))\n", code)
    done = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "imported by rayox-x: this" in done.stderr
