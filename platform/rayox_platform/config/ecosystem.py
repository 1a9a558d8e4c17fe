"""Variables that other programs read too: what they say is the default of the settings that mean the same."""

from collections.abc import Mapping

from rayox_platform.config.origin import Origin, Rank, ReadLayer, Value

VARIABLES = {
    "MLFLOW_TRACKING_URI": "tracking.uri",
    "MLFLOW_EXPERIMENT_NAME": "tracking.experiment",
}
"""By name, the setting. An empty one is an unset one."""


def read_ecosystem(environ: Mapping[str, str]) -> ReadLayer:
    """The defaults that other programs' variables give; a recipe overrules them."""
    return ReadLayer(
        {
            key: Value(environ[name], Origin(Rank.ENVIRONMENT, name))
            for name, key in VARIABLES.items()
            if environ.get(name)
        }
    )
