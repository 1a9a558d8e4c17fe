"""A look from every machine before a run starts: the same rayox, the same storage, the data there and readable.

What is missing is named with its machine and in seconds; a run would meet it after a minute, as an error number.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayox_model.core.errors import ClusterError, ConfigError, DataError, RayoxError
from rayox_model.core.quarantine import BrokenImage
from rayox_platform.data.images import CocoImages
from rayox_platform.data.source import ImageSource
from rayox_platform.resources.connected import node_name
from rayox_platform.resources.node_labels import Selector, fits, selector
from rayox_platform.storage.folders import Folder
from rayox_platform.storage.object_store import explained

ANSWER_SECONDS = 60.0
LOOKED_AT = 4  # images of each split, spread over it
HEAD = "node:__internal_head__"  # a resource that Ray gives the head alone
GO_ON = "mend that, and start again"


@dataclass(frozen=True)
class Question:
    """What a machine is asked; it pickles small, and has no credentials."""

    files: Folder  # of the run or campaign
    mark: str  # a file there, and what is in it
    sources: Mapping[str, ImageSource]  # by split
    indices: Mapping[str, tuple[int, ...]]  # images of each that exist where the driver is


@dataclass(frozen=True)
class Answer:
    """What a machine lacks, in words; empty where all is well."""

    storage: str = ""
    data: str = ""


def check_machines(
    files: Folder, images: Mapping[str, CocoImages], labels: Sequence[str | None] = (None,), *, head: bool = False
) -> None:
    """Ask every machine that may get work of a claimed run or campaign; none where there is only this one.

    files are its own. labels are train.nodes and data.nodes, each of which lets some machines in; head lets in the
    head, whatever it has.

    Raises ClusterError, ConfigError (storage) or DataError, by the first of these that any machine lacks, with a line
    for each of them.
    """
    wanted = [selector(text) for text in labels]
    nodes = [node for node in ray.nodes() if node["Alive"] and may_work(node, wanted, head)]
    if {node["NodeID"] for node in nodes} <= {ray.get_runtime_context().get_node_id()}:
        return
    names = Counter(node["NodeManagerHostname"] for node in nodes)
    named = {node["NodeID"]: node_name(node, names) for node in nodes}
    _raise(_versions(named), ClusterError, f"install rayox {version('rayox')} on all machines, and {GO_ON}")
    answers = _answers(named, files, images)
    _raise(
        {node: f"storage: {answer.storage}" for node, answer in answers.items() if answer.storage},
        ConfigError,
        "set storage=… to a folder that all machines share, or to a bucket whose credentials all of them have in their "
        "environment",
    )
    _raise(
        {node: answer.data for node, answer in answers.items() if answer.data},
        DataError,
        "put the images where every machine finds them under the same path, or into a bucket",
    )


def may_work(node: Mapping[str, Any], wanted: Sequence[Selector], head: bool) -> bool:
    """Whether a node, as Ray describes it, may get work: it has CPUs and one of the labels, or it is the head."""
    if head and HEAD in node["Resources"]:
        return True
    return bool(node["Resources"].get("CPU", 0)) and any(fits(node.get("Labels", {}), labels) for labels in wanted)


def _raise(lacking: Mapping[str, str], kind: type[RayoxError], hint: str) -> None:
    if lacking:
        raise kind("\n".join(f"node {node}: {what}" for node, what in lacking.items()), hint)


def _versions(named: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with the rayox of each machine; asked by a function that is Python's own."""
    wanted = version("rayox")
    asked = {name: _on(node, version, "rayox") for node, name in named.items()}
    lacking = {}
    for name, answer in asked.items():
        try:
            found = ray.get(answer, timeout=ANSWER_SECONDS)
            if found != wanted:
                lacking[name] = f"it has rayox {found}, this machine has {wanted}"
        except PackageNotFoundError:
            lacking[name] = "it has no rayox"
        except GetTimeoutError:
            ray.cancel(answer, force=True)
            lacking[name] = f"it has started no process for {ANSWER_SECONDS:.0f} s (see raylet.err in its logs)"
        except RayError as error:
            lacking[name] = f"it runs nothing: {str(error).strip().splitlines()[-1]}"
    return lacking


def _answers(named: Mapping[str, str], files: Folder, images: Mapping[str, CocoImages]) -> dict[str, Answer]:
    mark = f".probe-{uuid.uuid4().hex[:12]}"
    question = Question(
        files,
        mark,
        {split: part.source for split, part in images.items()},
        {split: _readable_here(part) for split, part in images.items()},
    )
    written = [mark, *(f"{mark}-{node[:12]}" for node in named)]
    try:
        files.write(mark, mark.encode())
        sent = ray.put(question)  # the names of all images are in it
        asked = {node: _on(node, look, sent, f"{mark}-{node[:12]}") for node in named}
        found = {node: _answer(asked[node]) for node in named}
        return {named[node]: _seen_from_here(files, f"{mark}-{node[:12]}", answer) for node, answer in found.items()}
    except OSError as error:
        raise ConfigError(f"storage: {files} cannot be written ({explained(error, '')[0]})", "") from error
    finally:
        for name in written:
            with suppress(OSError):
                files.remove(name)


def _answer(asked: Any) -> Answer:
    try:
        found = ray.get(asked, timeout=2 * ANSWER_SECONDS)
    except GetTimeoutError:
        return Answer(storage=f"neither its folder nor the data could be looked at in {2 * ANSWER_SECONDS:.0f} s")
    assert isinstance(found, Answer)
    return found


def _seen_from_here(files: Folder, name: str, answer: Answer) -> Answer:
    if not answer.storage and not files.has(name):
        return Answer(f"what it writes to {files} is not seen from here: it has another folder there", answer.data)
    return answer


def _on(node: str, function: Any, *arguments: object) -> Any:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(function).options(scheduling_strategy=there).remote(*arguments)


def _readable_here(images: CocoImages) -> tuple[int, ...]:
    """A few of them, spread over all; one that is missing or broken here too is not a machine's fault."""
    last = len(images) - 1
    spread = sorted({place * last // (LOOKED_AT - 1) for place in range(LOOKED_AT)}) if last >= 0 else []
    return tuple(index for index in spread if not _first_unreadable(images.source, (index,)))


def look(question: Question, reply: str) -> Answer:
    """Run by the machine that is asked: read the driver's mark, leave one's own, read some images."""
    return Answer(_storage(question, reply), "; ".join(_unreadable(question)))


def _storage(question: Question, reply: str) -> str:
    files = question.files
    try:
        if files.read(question.mark) != question.mark.encode():
            return f"{files.path('')} is another folder than the driver's"
    except FileNotFoundError:
        return f"what the driver wrote to {files.path('')} is not there: it is another folder, or none"
    except OSError as error:
        return f"{files.path('')} cannot be read ({explained(error, '')[0]})"
    try:
        files.write(reply, b"seen")
    except OSError as error:
        return f"{files.path('')} cannot be written ({explained(error, '')[0]})"
    return ""


def _unreadable(question: Question) -> Iterable[str]:
    """An image that cannot be read, of each split that has one."""
    for split, source in question.sources.items():
        lost = _first_unreadable(source, question.indices[split])
        if lost:
            yield f"data.{split}.images: {lost}"


def _first_unreadable(source: ImageSource, indices: Sequence[int]) -> str:
    for index in indices:
        try:
            source.read(index)
        except (DataError, BrokenImage, OSError) as error:
            return str(error)
    return ""
