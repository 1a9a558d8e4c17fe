"""A function that a process of Ray calls before it has any work, so that its imports are done when work comes.

Ray has this for a whole job (worker_process_setup_hook), whose processes then all wait for Ray's agent to prepare an
environment. A variable in the process's own environment names the function as well, and costs no wait. It buys the
import of torch (3.7 s) in each process that a start waits for; without it a process imports when its work arrives.
"""

from rayox_platform.ray_internals.preloading import IMPORT_RAY
from rayox_platform.ray_internals.switch import attempt


def first_call(function: str) -> dict[str, str]:
    """The variables of a process that calls a function, module.name, first; none where this Ray cannot."""
    return attempt("imports ahead of work", lambda: {_variable(): function}, {})


def ray_imported() -> dict[str, str]:
    """The variables of a local cluster's processes: each has imported Ray Train and Ray Data before its first work."""
    return first_call(IMPORT_RAY)


def _variable() -> str:
    from ray._private.ray_constants import WORKER_PROCESS_SETUP_HOOK_ENV_VAR

    return str(WORKER_PROCESS_SETUP_HOOK_ENV_VAR)
