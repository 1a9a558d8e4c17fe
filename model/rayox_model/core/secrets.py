"""Credentials in texts that are shown or kept: what stands before the @ of an address, and what a query names so."""

import re

HIDDEN = "***"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
_PLAIN = ("sqlite:", "file:")  # addresses of this machine's files, which name no user
_USER = re.compile(rf"({_SCHEME})(?:[^\s/'\"<>@]*:[^\s'\"<>]*|[^\s/'\"<>@]*)@")
_NAMED = re.compile(
    r"((?:[?&;,\s{(\"'_-]|^)(?:passw(?:or)?d|passwd|pwd|secret|token|signature|sig|credential|[a-z]+[_-]key|apikey|pin-value)"
    r"[\w.-]*(?:=|[\"']\s*:\s*)[\"']?)(?!\*\*\*|…)[^\s&'\"<>,;)}]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_HARMLESS = ("sslmode", "sslrootcert", "charset", "connect_timeout", "timeout", "driver", "application_name")


def without_secrets(text: str) -> str:
    """Any text with the credentials that stand in it masked: of addresses, of queries and of headers."""
    if "://" in text:
        text = _USER.sub(lambda found: found[0] if found[0].startswith(_PLAIN) else f"{found[1]}{HIDDEN}@", text)
    return _BEARER.sub(rf"\1 {HIDDEN}", _NAMED.sub(rf"\1{HIDDEN}", text))


def masked_address(address: str) -> str:
    """An address as it may be kept: without its user and password, its query without values that may be secret.

    A path, and an address that holds none, come back as they are.
    """
    scheme, separator, rest = address.partition("://")
    if not separator or f"{scheme}:" in _PLAIN:
        return address
    user, at, place = rest.rpartition("@")
    if at and scheme not in ("http", "https") and ":" not in user:
        at, place = "", rest  # a database's user alone is not secret; of a web server a token may stand there
    place, asks, query = place.partition("?")
    shown = "&".join(map(_masked_value, query.split("&")))
    return f"{scheme}://{HIDDEN + '@' if at else ''}{place}{asks}{shown}"


def is_masked(address: str) -> bool:
    """Whether a credential was left out of a kept address."""
    return "://" in address and HIDDEN in address


def _masked_value(part: str) -> str:
    name, equals, _ = part.partition("=")
    return part if not part or name.lower() in _HARMLESS else f"{name if equals else ''}{equals}{HIDDEN}"
