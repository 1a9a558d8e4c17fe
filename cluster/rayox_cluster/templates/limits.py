"""Which values can be: what would otherwise only be found out by `kubectl apply`, the cloud or the first run."""

import dataclasses
import re
from collections.abc import Iterator, Mapping

from rayox_cluster.templates.values import Values
from rayox_model.core.secrets import masked_address, without_secrets

LONGEST_NAME = 40  # KubeRay takes 53 for a RayCluster, of which a nightly job and its cluster add 12 to this
LABEL = "small letters, digits and dashes between them"
ADDRESS = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or the whole path of a folder that every node has"
NAME = (rf"[a-z]([a-z0-9-]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?", f"{LABEL}, a letter first, at most {LONGEST_NAME}")
EVERYWHERE, WHOLE = r"(s3|gs)://\S.*|/.*\S.*", "s3://…, gs://… or a whole path"
FORMS: Mapping[str, tuple[str, str]] = {
    "name": NAME,
    "services": (f"({NAME[0]})?", NAME[1]),
    "namespace": (r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", f"{LABEL}, at most 63"),
    "image": (r"[\w.-]+(:\d+)?(/[\w.-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", "[REGISTRY/]NAME:TAG"),
    "ray_version": (r"\d+\.\d+\.\d+\w*", "a version, such as 2.60.0"),
    "storage": (r"(s3|gs)://[a-zA-Z0-9._-]+/[^\s/]\S*|/\S+", ADDRESS),
    "recipe": (r".*\S.*", "a recipe"),
    "init": (r"|models:/\S+|runs:/\S+" + f"|{EVERYWHERE}", "s3://…, models:/…, runs:/… or a whole path in the image"),
    "annotations": (f"shapes:(train|val)|{EVERYWHERE}", f"a file of annotations that every node reads: {WHOLE}"),
    "images": (EVERYWHERE, f"a folder of images that every node reads: {WHOLE}"),
    "val_annotations": (f"shapes:(train|val)|{EVERYWHERE}", f"a file of annotations that every node reads: {WHOLE}"),
    "val_images": (EVERYWHERE, f"a folder of images that every node reads: {WHOLE}"),
    "queue": (f"({NAME[0]})?", NAME[1]),
    "priority": (f"({NAME[0]})?", NAME[1]),
    "promote_to": (r"[^\s/:@][^/:@]*", "a name without / : @"),
    "region": (r"[a-z0-9-]+", "a region, such as eu-central-1"),
    "project": (r"[a-z][a-z0-9.:-]+", "a project's id, such as my-project"),
    "zone": (r"[a-z]+-[a-z]+\d+-[a-z]", "a zone, such as europe-west4-a"),
}
AT_LEAST_ONE = (
    *("head_cpus", "head_memory_gib", "data_cpus", "data_memory_gib", "train_cpus", "train_memory_gib"),
    *("shared_memory_gib", "idle_minutes", "disk_gib", "workers"),
)
CRON = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))  # minute, hour, day, month, day of the week


def faults(values: Values) -> list[str]:
    """A line for each value that cannot be; empty when all can."""
    lone = ["priority: has no effect without queue=NAME"] if values.priority and not values.queue else []
    rules = (_of_form, _of_secrets, _of_numbers, _of_addresses, _of_schedule)
    return [*lone, *(line for rule in rules for line in rule(values))]


def _of_form(values: Values) -> Iterator[str]:
    for key, (pattern, form) in FORMS.items():
        text = getattr(values, key) or ""
        if not _has_secret(text) and not re.fullmatch(pattern, text):
            yield f"{key}: {text!r} is not {form}"


def _of_secrets(values: Values) -> Iterator[str]:
    for key, text in dataclasses.asdict(values).items():
        if isinstance(text, str) and _has_secret(text):
            yield f"{key}: contains a user, a password or a key, which does not belong in a manifest; use a secret"


def _has_secret(text: str) -> bool:
    return masked_address(text) != text or without_secrets(text) != text


def _of_numbers(values: Values) -> Iterator[str]:
    for key in AT_LEAST_ONE:
        if getattr(values, key) == 0:
            yield f"{key}: 0 is less than 1"
    for role in ("data", "train"):
        fewest, most = getattr(values, f"{role}_nodes"), getattr(values, f"{role}_nodes_most")
        if fewest == 0:
            yield f"{role}_nodes: 0 is less than 1, and a run whose {role}.nodes no node has is refused"
        if fewest > most:
            yield f"{role}_nodes: {fewest} is more than {role}_nodes_most, {most}"
    smallest = min(values.head_memory_gib, values.data_memory_gib, values.train_memory_gib)
    if values.shared_memory_gib > smallest:
        yield f"shared_memory_gib: {values.shared_memory_gib} is more than the memory of a node, {smallest}"
    room = values.train_nodes * (values.gpus_per_node or values.train_cpus)
    if values.num_workers > room > 0:
        each = f"GPUs per node: {values.gpus_per_node}" if values.gpus_per_node else f"CPUs: {values.train_cpus}"
        yield (
            f"workers: {values.num_workers} do not fit on the nodes that are there when a run starts (train_nodes: "
            f"{values.train_nodes}, {each}); give more train_nodes"
        )


def _of_addresses(values: Values) -> Iterator[str]:
    for key, text in (("store_endpoint", values.store_endpoint), ("tracking_uri", values.tracking_uri)):
        if text is None or (key == "store_endpoint" and not text) or _has_secret(text):
            continue
        if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[1-9]\d{0,4})?(/\S*)?", text):
            yield f"{key}: {text!r} is not http://HOST:PORT"


def _of_schedule(values: Values) -> Iterator[str]:
    schedule = values.schedule
    fields = schedule.split()
    if len(fields) != 5 or not all(_is_cron(field, *span) for field, span in zip(fields, CRON, strict=True)):
        yield f"schedule: {schedule!r} is not five fields of cron: minute, hour, day, month and day of the week"


def _is_cron(field: str, lowest: int, highest: int) -> bool:
    for part in field.split(","):
        span, _, step = part.partition("/")
        named = re.fullmatch(r"[A-Za-z]{3}(-[A-Za-z]{3})?", span) and highest in (12, 6)
        numbers = [int(one) for one in span.split("-")] if re.fullmatch(r"\d{1,2}(-\d{1,2})?", span) else None
        inside = numbers is not None and all(lowest <= one <= highest for one in numbers) and sorted(numbers) == numbers
        if not (named or span == "*" or inside) or ("/" in part and not re.fullmatch(r"[1-9]\d?", step)):
            return False
    return True
