"""Whether a cluster's processes talk TLS, and whether this one is set to: Ray waits for minutes where they differ."""

import os
import socket
import ssl

from rayox_model.core.errors import ClusterError

VARIABLE = "RAY_USE_TLS"
ANSWER_SECONDS = 5.0
NOT_TLS = ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE")


def check_tls(address: str) -> None:
    """Raises ClusterError when who listens at HOST:PORT talks TLS and this process would not, or the reverse."""
    host, _, port = address.rpartition(":")
    asked = os.environ.get(VARIABLE, "0").lower() in ("1", "true")
    talks = speaks_tls(host, int(port))
    if talks is True and not asked:
        raise ClusterError(
            f"the cluster at {address} talks TLS, and {VARIABLE} is not set here",
            f"set {VARIABLE}=1 and RAY_TLS_CA_CERT, RAY_TLS_SERVER_CERT and RAY_TLS_SERVER_KEY to files of the "
            "cluster's authority",
        )
    if talks is False and asked:
        raise ClusterError(
            f"{VARIABLE} is set here, and the cluster at {address} does not talk TLS",
            f"unset {VARIABLE}, or start all of the cluster's nodes with it",
        )


def speaks_tls(host: str, port: int) -> bool | None:
    """None when it does not say. Nobody's identity is looked at: Ray does that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection((host, port), ANSWER_SECONDS) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:  # an alert, as of a server that wants a certificate, is TLS
        return error.reason not in NOT_TLS
    except ConnectionError:
        return False
    except OSError:
        return None
