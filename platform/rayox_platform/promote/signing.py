"""Signing a promoted model's folder in the format of OpenSSF's model-signing, with a key or the demo key."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rayox_model.core.errors import ConfigError, ModelError
from rayox_model.core.secrets import without_secrets
from rayox_platform.config.tree import Promotion
from rayox_platform.models.bundle import SIGNATURE
from rayox_platform.models.signature import DEMO_KEY, DEMO_PUBLIC, Trust, verify_signature

PASSWORD = "RAYOX_KEY_PASSWORD"
_PUBLIC = "openssl ec -in key.pem -pubout -out key.pub"
_MAKE = f"make one: openssl ecparam -name prime256v1 -genkey -noout -out key.pem; {_PUBLIC}"


@dataclass(frozen=True)
class SigningKey:
    """What signs."""

    kind: str  # demo, key, certificate or pkcs11
    key: str  # a file, or the address of a token
    certificate: Path | None = None

    def signer(self) -> Any:
        """The signer of model-signing. Raises one of its errors for a key that cannot be used."""
        from model_signing.signing import Config

        password = os.environ.get(PASSWORD)
        match self.kind:
            case "pkcs11" if self.certificate is not None:
                return Config().use_pkcs11_certificate_signer(
                    pkcs11_uri=self.key, signing_certificate=self.certificate, certificate_chain=[self.certificate]
                )
            case "pkcs11":
                return Config().use_pkcs11_signer(pkcs11_uri=self.key)
            case "certificate":
                assert self.certificate is not None
                return Config().use_certificate_signer(
                    private_key=self.key, signing_certificate=self.certificate, certificate_chain=[self.certificate]
                )
        return Config().use_elliptic_key_signer(
            private_key=self.key, password=password.encode() if password and self.kind == "key" else None
        )


def signing_key(settings: Promotion, tracking_uri: str | None, state: Path) -> SigningKey:
    """The key of the settings, or in the embedded store the demo key, which is made. Raises ConfigError."""
    certificate = Path(settings.certificate).expanduser().absolute() if settings.certificate else None
    if certificate is not None and not certificate.is_file():
        raise ConfigError(
            f"promotion.certificate: {certificate}: no such file", "give the certificate of promotion.key"
        )
    if settings.key is not None and settings.key.startswith("pkcs11:"):
        return SigningKey("pkcs11", settings.key, certificate)
    if settings.key is not None:
        key = Path(settings.key).expanduser().absolute()
        if not key.is_file():
            raise ConfigError(f"promotion.key: {key}: no such file", _MAKE)
        return SigningKey("certificate" if certificate else "key", str(key), certificate)
    if tracking_uri is not None:
        raise ConfigError(
            f"promotion.key: no key to sign a champion of {without_secrets(tracking_uri)} with; the demo key is only "
            "for the store that this machine keeps for itself",
            _MAKE + "; then give promotion.key=key.pem promotion.trusted_keys=[key.pub]",
        )
    return SigningKey("demo", str(make_demo_key(state)[0]))


def sign_folder(folder: Path, key: SigningKey, trust: Trust) -> None:
    """Sign all of it. Raises ConfigError for a key that cannot be used, or that nobody here would trust."""
    from model_signing.hashing import Config

    signature = folder / SIGNATURE
    signature.parent.mkdir(exist_ok=True)
    what = Config().set_ignored_paths(paths=[signature], ignore_git_paths=False)
    # No key or a wrong password; a token's driver raises what it likes. A disk that is full is not the key's fault.
    errors = (Exception,) if key.kind == "pkcs11" else (ValueError, TypeError, AttributeError, RuntimeError)
    try:
        key.signer().set_hashing_config(what).sign(folder, signature)
    except errors as error:
        hint = f"give a PEM key of P-256, P-384 or P-521 (its password in {PASSWORD})"
        if key.kind == "pkcs11":
            hint = "look at its token, object, module-path and pin-source; it needs pip install 'rayox[pkcs11]'"
        raise ConfigError(f"promotion.key: {key.key} cannot sign ({error or type(error).__name__})", hint) from None
    try:
        verify_signature(folder, trust, str(folder))
    except ModelError:
        setting = "promotion.trusted_roots" if key.certificate else "promotion.trusted_keys"
        raise ConfigError(
            f"promotion.key: {key.key} is not vouched for by {setting}, so nobody would accept what it signs",
            "name the authority's certificate" if key.certificate else f"add its public key: {_PUBLIC}",
        ) from None


def make_demo_key(state: Path) -> tuple[Path, Path]:
    """The pair of a state folder, private and public; made once, also when several processes try at the same time."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private, public = state / DEMO_KEY, state / DEMO_PUBLIC
    if public.is_file() and private.is_file():
        return private, public
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
    return private, public
