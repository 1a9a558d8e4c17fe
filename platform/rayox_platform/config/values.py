"""The kinds of value that settings have: what each takes, and how one that may hold a credential is shown."""

import shlex
from typing import Annotated
from urllib.parse import urlsplit

from annotated_types import Ge, Le, MinLen
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from rayox_model.core.secrets import HIDDEN, masked_address, without_secrets

STRIDE = 32


def _pair(value: object) -> object:
    """One number stands for two; JSON's lists are tuples."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


def _whole_strides(side: int) -> int:
    below = side // STRIDE * STRIDE
    if side != below:
        raise ValueError(f"{side} is not a multiple of {STRIDE}; use {max(below, STRIDE)} or {below + STRIDE}")
    return side


def _web_address(text: str) -> str:
    """The message leaves the value out: it may hold a token."""
    wrong = "this is not a web address; give http://… or https://…"
    try:
        parts = urlsplit(text)
        right = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and text.isprintable()
    except ValueError:
        raise ValueError(wrong) from None
    if not right or " " in text:
        raise ValueError(wrong)
    return text


def masked(url: str) -> str:
    """A web address without what may be secret in it: user, path, query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{HIDDEN}"


def _without_credentials(text: str) -> str:
    """The message leaves the value out."""
    place, _, query = text.partition("://")[2].partition("?")
    if (masked_address(text) != text and "@" in place) or without_secrets(f"?{query}") != f"?{query}":
        raise ValueError(
            "credentials do not go into this address; the environment has them (AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS)"
        )
    return text


def _without_pin(text: str) -> str:
    """The message leaves the value out."""
    if "pin-value=" in text.lower():
        raise ValueError(
            "the address of the token has its PIN in it (pin-value), where everybody can read it; write the PIN, "
            "without a line's end, into a file of your own and give pin-source=FILE"
        )
    return text


def _program(command: str) -> str:
    """A command without its arguments, one of which may be a token."""
    program, *arguments = shlex.split(command)
    return f"{program} {HIDDEN}" if arguments else program


def _words(command: str) -> str:
    if not shlex.split(command):  # a quotation without end raises the like
        raise ValueError("it names no program")
    return command


def _labels(text: str) -> str:
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not (equals and key.strip() and value.strip()):
            raise ValueError(f"{part.strip()!r} is not a label as key=value")
    return text


Count = Annotated[int, Ge(1)]
Size = Annotated[int, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
Text = Annotated[str, MinLen(1)]
# What may hold a credential is written only: as JSON, which is what is shown and kept, it is masked.
_WRITE_ONLY = Field(json_schema_extra={"writeOnly": True})
Address = Annotated[Text, AfterValidator(_without_credentials)]
KeyAddress = Annotated[Text, AfterValidator(_without_pin)]
SecretUrl = Annotated[
    Text, AfterValidator(_web_address), PlainSerializer(masked, return_type=str, when_used="json"), _WRITE_ONLY
]
SecretAddress = Annotated[Text, PlainSerializer(masked_address, return_type=str, when_used="json"), _WRITE_ONLY]
SecretCommand = Annotated[
    Text, AfterValidator(_words), PlainSerializer(_program, return_type=str, when_used="json"), _WRITE_ONLY
]
Labels = Annotated[Text, AfterValidator(_labels)]
Side = Annotated[int, Ge(STRIDE), AfterValidator(_whole_strides), Field(json_schema_extra={"multipleOf": STRIDE})]
ImageSize = Annotated[tuple[Side, Side], BeforeValidator(_pair, json_schema_input_type=Side | tuple[Side, Side])]
Workers = Annotated[tuple[Count, Count], BeforeValidator(_pair, json_schema_input_type=Count | tuple[Count, Count])]
Reach = Annotated[tuple[Size, Size], BeforeValidator(_pair, json_schema_input_type=Size | tuple[Size, Size])]
