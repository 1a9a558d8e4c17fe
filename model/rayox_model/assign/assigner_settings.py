"""The one configuration field for all assigners.

Another assigner is another frozen dataclass with a `kind` of its own, joined here, and a case in `assigner.assign`.
"""

from collections.abc import Mapping
from typing import Any, get_args

from rayox_model.assign.fcos_settings import FCOS
from rayox_model.assign.simota_settings import SimOTA
from rayox_model.core.errors import ConfigError

Assigner = SimOTA | FCOS


def assigner_of(values: Mapping[str, Any]) -> Assigner:
    """The assigner whose fields these are, `kind` among them. Raises ConfigError for another kind."""
    for member in get_args(Assigner):
        if member.kind == values.get("kind"):
            found: Assigner = member(**values)
            return found
    known = ", ".join(member.kind for member in get_args(Assigner))
    raise ConfigError(f"assigner.kind: {values.get('kind')!r} is not one of {known}", "use a newer rayox")
