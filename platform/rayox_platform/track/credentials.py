"""The credentials of a tracking address, which are not kept with a run: they come from what is given now."""

import os

from rayox_model.core.errors import ConfigError
from rayox_model.core.secrets import HIDDEN, is_masked, masked_address

LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN")  # which MLflow itself reads


def with_credentials(kept: str, given: str | None) -> str:
    """A kept address as it was, by the one that is given now. Raises ConfigError when that does not have them."""
    if not is_masked(kept):
        return kept
    if given and masked_address(given) == kept:
        return given
    bare = kept.replace(f"{HIDDEN}@", "")
    if (
        kept.startswith("http")
        and not is_masked(bare)
        and (given == bare or any(os.environ.get(name) for name in LOGIN))
    ):
        return bare
    now = f"; now {masked_address(given)} is given" if given else ""
    raise ConfigError(
        f"tracking.uri: the run is recorded at {kept}, and credentials are not kept{now}",
        "set RAYOX_TRACKING__URI or MLFLOW_TRACKING_URI to that address with its credentials",
    )
