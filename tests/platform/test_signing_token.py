"""A key that never leaves its token: SoftHSM, as a hardware module speaks PKCS#11."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rayox_model.core.errors import ConfigError, ModelError
from rayox_platform.config.tree import Promotion
from rayox_platform.models.signature import trusted, verify_signature
from rayox_platform.promote.signing import sign_folder, signing_key

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "246810"


@pytest.fixture
def token(tmp_path, monkeypatch):
    """(address of a key in a token, its public key's file)."""
    tool = shutil.which("softhsm2-util")
    if tool is None or not MODULE.exists():
        pytest.skip("softhsm2 is not installed (apt install softhsm2)")
    (tmp_path / "tokens").mkdir()
    settings = tmp_path / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    private = ec.generate_private_key(ec.SECP384R1())
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key, public, pin = tmp_path / "key.pem", tmp_path / "key.pub", tmp_path / "pin"
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, *form))
    public.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    pin.write_text(PIN)
    for words in (
        ["--init-token", "--free", "--label", "gate", "--so-pin", "13579", "--pin", PIN],
        ["--import", str(key), "--token", "gate", "--label", "champion", "--id", "01", "--pin", PIN],
    ):
        subprocess.run([tool, *words], check=True, capture_output=True)
    key.unlink()
    return f"pkcs11:token=gate;object=champion?module-path={MODULE}&pin-source={pin}", public


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    (made / "weights").write_bytes(b"1234")
    return made


def test_a_token_signs_and_its_public_key_vouches(token, folder, tmp_path):
    address, public = token
    settings = Promotion(key=address, trusted_keys=(str(public),))
    key = signing_key(settings, "http://mlflow", tmp_path)
    trust = trusted(settings, "http://mlflow", tmp_path)
    assert key.kind == "pkcs11"
    sign_folder(folder, key, trust)
    verify_signature(folder, trust, "model")
    (folder / "weights").write_bytes(b"1235")
    with pytest.raises(ModelError):
        verify_signature(folder, trust, "model")


@pytest.mark.parametrize("wrong", [("object=champion", "object=other"), ("token=gate", "token=none"), ("/pin", "/no")])
def test_a_key_that_cannot_be_used_is_refused_with_what_to_look_at(token, folder, tmp_path, wrong):
    address, public = token
    settings = Promotion(key=address.replace(*wrong), trusted_keys=(str(public),))
    with pytest.raises(ConfigError, match="cannot sign") as refused:
        sign_folder(folder, signing_key(settings, "http://mlflow", tmp_path), trusted(settings, None, tmp_path))
    assert "pin-source" in refused.value.hint


def test_a_wrong_pin_is_refused_and_not_shown(token, folder, tmp_path):
    address, public = token
    (tmp_path / "pin").write_text("999999")
    settings = Promotion(key=address, trusted_keys=(str(public),))
    with pytest.raises(ConfigError, match="cannot sign") as refused:
        sign_folder(folder, signing_key(settings, "http://mlflow", tmp_path), trusted(settings, None, tmp_path))
    assert "999999" not in refused.value.message
