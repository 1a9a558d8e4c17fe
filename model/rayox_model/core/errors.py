"""What a user did or met that stops a verb: each kind has a short code and the documented exit code.

They print as one message without a traceback. Whatever is not a RayoxError is a defect of rayox (exit code 1).
"""

from rayox_model.core.secrets import without_secrets


class RayoxError(Exception):
    """A message says what is wrong, with the value, and where; the hint says what to do next.

    Credentials are masked in both: a message may repeat an address, or what a server said.
    """

    code = "internal"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = without_secrets(message), without_secrets(hint)
        super().__init__(self.message)

    def __reduce__(self) -> tuple[type["RayoxError"], tuple[str, str]]:  # errors cross process borders whole
        return type(self), (self.message, self.hint)


class ConfigError(RayoxError):
    code = "config"
    exit_code = 2


class DataError(RayoxError):
    code = "data"
    exit_code = 3


class ModelError(RayoxError):
    """Something is wrong with a model or checkpoint."""

    code = "model"
    exit_code = 4


class ExportError(RayoxError):
    code = "export"
    exit_code = 5


class ClusterError(RayoxError):
    code = "cluster"
    exit_code = 6


class GateError(RayoxError):
    """A promotion was refused."""

    code = "gate"
    exit_code = 7


class TrainingError(RayoxError):
    """Training stopped for good: a non-finite loss, or retries spent."""

    code = "training"
    exit_code = 8


class TrackingError(RayoxError):
    code = "tracking"
    exit_code = 9
