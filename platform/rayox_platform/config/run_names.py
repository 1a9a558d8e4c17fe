"""Names in the settings that become folders and parts of MLflow's addresses and queries."""

from rayox_model.core.errors import ConfigError
from rayox_platform.config.tree import Config

HINT = "use letters, digits and dashes"
NOT_IN_A_FOLDER, NOT_IN_A_MODEL = "/\0'\"`", "/:'\"`"


def check_names(config: Config) -> None:
    """Raises ConfigError for a name of a run or of a registered model that cannot be one."""
    check_name("name", config.name)
    check_name("tracking.model", config.tracking.model, NOT_IN_A_MODEL)


def check_name(key: str, text: str, forbidden: str = NOT_IN_A_FOLDER) -> None:
    """Raises ConfigError for a text with a forbidden character, or that is . or .. alone."""
    found = next((character for character in forbidden if character in text), None)
    if found or text in (".", ".."):
        raise ConfigError(f"{key}: {text!r} cannot be a name{f' ({found!r} in it)' if found else ''}", HINT)
