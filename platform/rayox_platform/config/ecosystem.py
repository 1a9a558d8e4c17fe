"""Variables that other programs read too: what they say is the default of the settings that mean the same."""

from collections.abc import Collection, Mapping

from rayox_platform.config.origin import Origin, Rank, ReadLayer, Value

VARIABLES = {
    "MLFLOW_TRACKING_URI": "tracking.uri",
    "MLFLOW_EXPERIMENT_NAME": "tracking.experiment",
}
"""By name, the setting. An empty one is an unset one."""


NOT_TAKEN = {
    "MLFLOW_REGISTRY_URI": ("tracking.uri", "models are registered where runs are kept (tracking.uri)"),
    "MLFLOW_EXPERIMENT_ID": (
        "tracking.experiment",
        "name the experiment by tracking.experiment or MLFLOW_EXPERIMENT_NAME",
    ),
}
"""By name, the setting that says the same and why the variable does not; told where the setting does not say it."""


def not_taken(environ: Mapping[str, str], given: Collection[str], tracking_uri: str | None) -> list[str]:
    """A line for each variable that its user may expect to count; given are the settings that somebody has set."""
    return [
        f"{name} is not taken: {why}"
        for name, (key, why) in NOT_TAKEN.items()
        if environ.get(name) and environ[name] != tracking_uri and (key == "tracking.uri" or key not in given)
    ]


def read_ecosystem(environ: Mapping[str, str]) -> ReadLayer:
    """The defaults that other programs' variables give; a recipe overrules them."""
    return ReadLayer(
        {
            key: Value(environ[name], Origin(Rank.ENVIRONMENT, name))
            for name, key in VARIABLES.items()
            if environ.get(name)
        }
    )
