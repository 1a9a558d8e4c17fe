"""The settings that may be changed when a run is resumed. Imports no torch: plans read it too."""

# What may differ from the settings a run began with: nothing that decides its weights. Data may lie elsewhere now:
# whether it is the same is decided by its fingerprint (same_data.py).
DATA = frozenset(f"data.{split}.{part}" for split in ("train", "val") for part in ("annotations", "images"))
CHANGEABLE = frozenset(
    (
        "name",
        "storage",
        "train.workers",
        "train.nodes",
        "data.nodes",
        "train.cpus_per_worker",
        "train.gpus_per_worker",
        "train.max_failures",
        "train.spares",
        "train.timeout_seconds",
        "train.resize_seconds",
        "checkpoint.every_steps",
        "checkpoint.every_minutes",
        "checkpoint.keep",
        "eval.batch_size",
        "tracking.flush_seconds",
        "tracking.step_seconds",
        "notify.url",
        "notify.command",
        *DATA,
    )
)
