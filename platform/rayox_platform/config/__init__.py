"""Configuration: one typed tree, filled from defaults, recipes, the environment and the command line, checked whole.

Nothing here imports torch, Ray or MLflow, so that `rayox config` answers at once.
"""

from rayox_platform.config.load import LoadedConfig, load_config
from rayox_platform.config.tree import Config

__all__ = ["Config", "LoadedConfig", "load_config"]
