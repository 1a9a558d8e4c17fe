"""Signing a promoted model's folder in the format of OpenSSF's model-signing, with a key or the demo key."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from rayox_model.core.errors import ConfigError, ModelError
from rayox_platform.config.tree import Promotion
from rayox_platform.models.bundle import SIGNATURE
from rayox_platform.models.signature import DEMO_KEY, DEMO_PUBLIC, Trust, verify_signature

PASSWORD = "RAYOX_KEY_PASSWORD"
_PUBLIC = "openssl ec -in key.pem -pubout -out key.pub"
_MAKE = f"make one: openssl ecparam -name prime256v1 -genkey -noout -out key.pem; {_PUBLIC}"


def signing_key(settings: Promotion, tracking_uri: str | None, state: Path) -> tuple[Path, str]:
    """The private key and what kind of signer it makes: key, or demo in the embedded store. Raises ConfigError."""
    if settings.key is not None:
        key = Path(settings.key).expanduser().absolute()
        if not key.is_file():
            raise ConfigError(f"promotion.key: {key}: no such file", _MAKE)
        return key, "key"
    if tracking_uri is not None:
        raise ConfigError(
            f"promotion.key: no key to sign a champion of {tracking_uri} with; the demo key is only for the store that "
            "this machine keeps for itself",
            _MAKE + "; then give promotion.key=key.pem promotion.trusted_keys=[key.pub]",
        )
    _make_demo_key(state)
    return state / DEMO_KEY, "demo"


def sign_folder(folder: Path, key: Path, trust: Trust) -> None:
    """Sign all of it. Raises ConfigError for a key that cannot be used, or that nobody here would trust."""
    from model_signing import hashing, signing

    signature = folder / SIGNATURE
    signature.parent.mkdir(exist_ok=True)
    what = hashing.Config().set_ignored_paths(paths=[signature], ignore_git_paths=False)
    password = os.environ.get(PASSWORD)
    try:
        signer = signing.Config().use_elliptic_key_signer(
            private_key=key, password=password.encode() if password else None
        )
        signer.set_hashing_config(what).sign(folder, signature)
    except (ValueError, TypeError, AttributeError) as error:  # no key, a wrong password, another kind of key
        raise ConfigError(
            f"promotion.key: {key} cannot sign ({error})", f"a PEM key of P-256, P-384 or P-521; password in {PASSWORD}"
        ) from None
    try:
        verify_signature(folder, trust, str(folder))
    except ModelError:
        raise ConfigError(
            f"promotion.key: {key} is not one of promotion.trusted_keys, so nobody would take what it signs",
            f"add its public key: {_PUBLIC}",
        ) from None


def _make_demo_key(state: Path) -> None:
    """Make the pair once, also when several processes try at the same time."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private, public = state / DEMO_KEY, state / DEMO_PUBLIC
    if public.is_file() and private.is_file():
        return
    private.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".key-", dir=private.parent) as draft:
        made = Path(draft, "key.pem")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(
                ec.generate_private_key(ec.SECP256R1()).private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
        with suppress(FileExistsError):
            os.link(made, private)
        kept = serialization.load_pem_private_key(private.read_bytes(), None)
        half = Path(draft, "key.pub")
        half.write_bytes(
            kept.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        half.replace(public)
