"""Signatures of promoted models, in the format of OpenSSF's model-signing: verifying one against trusted keys."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rayox_model.core.errors import ConfigError, ModelError
from rayox_platform.config.tree import Promotion
from rayox_platform.models.bundle import SIGNATURE

DEMO_KEY = "keys/demo-key.pem"  # in the state folder
DEMO_PUBLIC = "keys/demo-key.pub"


@dataclass(frozen=True)
class Trust:
    """Whose signatures count."""

    keys: tuple[Path, ...]
    roots: tuple[Path, ...]  # certificates of authorities
    demo: bool  # whether the demo key is among them: only in the store that this machine keeps for itself


def trusted(settings: Promotion, tracking_uri: str | None, state: Path) -> Trust:
    """The keys of the settings; without any, in the embedded store, the demo key. Raises ConfigError."""
    keys = tuple(Path(key).expanduser().absolute() for key in settings.trusted_keys)
    for key in keys:
        _check_public_key(key)
    roots = tuple(Path(root).expanduser().absolute() for root in settings.trusted_roots)
    for root in roots:
        _check_certificate(root)
    if keys or roots or tracking_uri is not None:
        return Trust(keys, roots, demo=False)
    demo = state / DEMO_PUBLIC
    return Trust((demo,) if demo.is_file() else (), (), demo=True)


def verify_signature(folder: Path, trust: Trust, shown: str) -> None:
    """Raise ModelError unless the whole folder is as a trusted key has signed it."""
    if not (trust.keys or trust.roots):
        raise ModelError(
            f"{shown}: no signatures are trusted here", "name public keys: promotion.trusted_keys=[team.pub]"
        )
    from model_signing.verifying import Config

    verifiers = [(key.name, partial(Config().use_elliptic_key_verifier, public_key=key)) for key in trust.keys]
    if trust.roots:
        named = ", ".join(root.name for root in trust.roots)
        verifiers.append((named, partial(Config().use_certificate_verifier, certificate_chain=trust.roots)))
    reasons = [_verify_with(name, verifier, folder) for name, verifier in verifiers]
    if None not in reasons:
        raise ModelError(
            f"{shown}: its signature does not hold: {'; '.join(sorted({str(reason) for reason in reasons}))}",
            "its files were changed, or another key has signed it (promotion.trusted_keys)",
        )


def _verify_with(name: str, verifier: Callable[[], Any], folder: Path) -> str | None:
    """Why it does not hold; None if it does."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from google.protobuf.message import Error as ProtobufError
    from OpenSSL.crypto import Error as OpenSSLError
    from OpenSSL.crypto import X509StoreContextError

    try:
        with redirect_stdout(sys.stderr):  # which has the result alone
            verifier().verify(folder, folder / SIGNATURE)
    except InvalidSignature:
        return f"not signed by {name}"
    except X509StoreContextError as error:
        return f"signed with a certificate that {name} does not vouch for ({error})"
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        OSError,
        ProtobufError,
        OpenSSLError,
        UnsupportedAlgorithm,
    ) as error:
        return " ".join(str(error).split())[:300] or type(error).__name__
    return None


def _check_public_key(path: Path) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        right = isinstance(load_pem_public_key(path.read_bytes()), EllipticCurvePublicKey)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"promotion.trusted_keys: {path} cannot be read ({error})", _PUBLIC) from None
    if not right:
        raise ConfigError(f"promotion.trusted_keys: {path} is not a key of an elliptic curve", _PUBLIC)


def _check_certificate(path: Path) -> None:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        hint = "give a certificate in PEM, as `openssl req -x509` writes it"
        raise ConfigError(f"promotion.trusted_roots: {path} cannot be read ({error})", hint) from None


_PUBLIC = "give a public key in PEM: openssl ec -in key.pem -pubout -out key.pub"
