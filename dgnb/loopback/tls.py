"""TLS for `python -m dgnb.loopback --tls`: some clients connect to `wss://` only."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path
from typing import Final

from dgnb.exceptions import ConfigurationError

# It can sign no other certificate, so whoever trusts it trusts this server alone.
_REQUEST: Final = (
    *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-config", os.devnull),
    *("-subj", "/CN=dgnb.loopback", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"),
    *("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"),
)


def from_files(certificate: str | Path, key: str | Path) -> ssl.SSLContext:
    """TLS with a certificate and its key, two PEM files.

    Raises:
        ConfigurationError: They can't be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password that is given is not asked for.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise ConfigurationError(
            f"{certificate} and {key} are no certificate and its key: {error}. Give PEM files, the key unencrypted."
        ) from None
    return context


def self_made(folder: str) -> tuple[ssl.SSLContext, Path]:
    """TLS with a new certificate for this machine, and the file to trust. The key is deleted at once.

    Raises:
        ConfigurationError: There is no program openssl, or it failed.
    """
    certificate, key = Path(folder, "certificate.pem"), Path(folder, "key.pem")
    try:
        subprocess.run([*_REQUEST, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigurationError(
            f"The program openssl made no certificate: {error}. Install it, or give one: --tls CERTIFICATE KEY."
        ) from None
    context = from_files(certificate, key)
    key.unlink()
    return context, certificate
