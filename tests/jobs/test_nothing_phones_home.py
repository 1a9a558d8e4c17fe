"""No verb asks for a foreign host's name or leaves anything in the home folder, nor does the packaged model.

Names are caught where Python asks for them and, if there is a C compiler, at the C library: onnxruntime asks there.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from rayox_platform.track.registration import save_pyfunc

pytestmark = pytest.mark.slow

HOOK = """
import os, sys
def _hook(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        with open(os.environ["LOOKED_UP"], "a") as file:
            print(arguments[0], file=file)
sys.addaudithook(_hook)
"""
INTERPOSED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    FILE *file = node ? fopen(getenv("LOOKED_UP"), "a") : NULL;
    if (file) { fprintf(file, "%s\\n", node); fclose(file); }
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, found);
}
"""
OWN = {"localhost", "None", "", socket.gethostname(), socket.getfqdn()}
# Ray's dashboard asks the metadata service of the cloud it may be in which one that is, whatever its settings: a name
# that only machines of that cloud know. Nothing is sent.
CLOUD = frozenset(("metadata.google.internal",))


DATA = [
    f"data.{split}.{part}"
    for split in ("train", "val")
    for part in (f"annotations={{data}}/{split}.json", "images={data}/images")
]


@pytest.fixture(scope="module")
def watch(tmp_path_factory) -> dict[str, str]:
    """Variables under which a Python process writes down the names it asks for."""
    folder = tmp_path_factory.mktemp("watch")
    (folder / "sitecustomize.py").write_text(HOOK)
    variables = {"PYTHONPATH": str(folder)}
    if shutil.which("cc"):
        source, library = folder / "watch.c", folder / "watch.so"
        source.write_text(INTERPOSED)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        variables["LD_PRELOAD"] = str(library)
    return variables


@pytest.fixture
def alone(watch, tmp_path) -> Callable[..., None]:
    """Run a Python command line in an empty folder with an empty home; it may ask for no name and leave no file."""
    home, work, asked = tmp_path / "home", tmp_path / "work", tmp_path / "asked"
    home.mkdir()
    work.mkdir()
    own = ("RAYOX_STATE", "RAY_ADDRESS", "MLFLOW_TRACKING_URI", "MPLCONFIGDIR")
    silent = ("ORT_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED", "DO_NOT_TRACK")
    kept = {name: value for name, value in os.environ.items() if name not in own + silent and name[:4] != "XDG_"}
    environment = kept | watch | {"HOME": str(home), "LOOKED_UP": str(asked), "OMP_NUM_THREADS": "1"}

    def run(*words: object, leaves: tuple[str, ...] = (), may_ask: frozenset[str] = frozenset()) -> None:
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        names = asked.read_text().splitlines() if asked.exists() else []
        assert [name for name in names if not is_own(name) and name not in may_ask] == []
        assert [str(path) for path in home.rglob("*") if path.is_file()] == []
        assert {path.name for path in work.iterdir()} <= {".rayox", *leaves}

    return run


def is_own(name: str) -> bool:
    """This machine's, or an address, for which nobody is asked."""
    if name in OWN:
        return True
    try:
        return bool(ip_address(name))
    except ValueError:
        return False


def test_a_foreign_name_is_noticed(alone):
    program = (
        "import socket, contextlib\nwith contextlib.suppress(OSError): socket.getaddrinfo('collector.invalid', 80)"
    )
    with pytest.raises(AssertionError, match=r"collector\.invalid"):
        alone("-c", program)


def test_a_file_in_the_home_folder_is_noticed(alone):
    with pytest.raises(AssertionError, match="deviceid"):
        alone("-c", "from pathlib import Path; (Path.home() / 'deviceid').touch()")


def test_onnx_models(alone, toy_onnx, toy_data):
    val = [f"data.val.annotations={toy_data / 'val.json'}", f"data.val.images={toy_data / 'images'}"]
    alone("-m", "rayox", "evaluate", toy_onnx, *val)
    alone("-m", "rayox", "predict", toy_onnx, toy_data / "images", "-o", "out", leaves=("out",))


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "{checkpoint}", "{data}/images", "-o", "out"],
        ["data", "check", "{data}/train.json", "--images", "{data}/images"],
        ["data", "stats", "{data}/train.json", "--images", "{data}/images", "-o", "out.png"],
        ["models", "list"],
        ["config", "show", "shapes"],
        ["data", "shard", "{data}/train.json", "--images", "{data}/images", "-o", "out"],
        ["train", "scratch", *DATA, "--dry-run"],
        ["tune", "simota", *DATA, "--plan"],
        ["runs", "list"],
    ],
)
def test_other_verbs(alone, checkpoint, toy_data, arguments):
    words = [word.format(checkpoint=checkpoint, data=toy_data) for word in arguments]
    alone("-m", "rayox", *words, leaves=("out", "out.png"))


def test_the_packaged_model(alone, toy_onnx, tmp_path):
    """Loaded by a program that knows nothing of rayox; MLflow's own telemetry is that program's choice."""
    save_pyfunc(tmp_path / "model", toy_onnx)
    program = f"""
import os
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import mlflow.pyfunc
mlflow.pyfunc.load_model({str(tmp_path / "model")!r})
"""
    alone("-c", program)


@pytest.mark.faults
def test_a_whole_run_on_ray(alone, toy_data):
    """Trained, evaluated, recorded in the local store, exported and registered."""
    data = [f"data.{split}.annotations={toy_data / f'{split}.json'}" for split in ("train", "val")]
    data += [f"data.{split}.images={toy_data / 'images'}" for split in ("train", "val")]
    sizes = ["image_size=64", "train.epochs=1", "train.closing_epochs=0", "train.warmup_epochs=0", "train.batch_size=8"]
    alone("-m", "rayox", "train", "scratch", *data, *sizes, "train.workers=1", "augment.mixup_prob=0", may_ask=CLOUD)
