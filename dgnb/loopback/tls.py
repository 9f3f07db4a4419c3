"""TLS for `python -m dgnb.loopback --tls`: some clients connect to `wss://` only."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dgnb.exceptions import ConfigurationError

# It can sign no other certificate, so whoever trusts it trusts this server alone.
_REQUEST: Final = (
    *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-config", os.devnull),
    *("-subj", "/CN=dgnb.loopback", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"),
    *("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"),
)


def server_context(files: Sequence[str | Path], folder: str) -> tuple[ssl.SSLContext, Path | None]:
    """TLS with a certificate and its key, two PEM files; without them, with a new certificate, and the file to trust.

    The new certificate is in `folder`. Its key is deleted at once.

    Raises:
        ConfigurationError: The files can't be read or do not belong together, or openssl is missing or failed.
    """
    certificate, key = files or (Path(folder, "certificate.pem"), Path(folder, "key.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if not files:
            subprocess.run([*_REQUEST, "-out", certificate, "-keyout", key], check=True, capture_output=True)
        # A password that is given is not asked for.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigurationError(
            f"There is no certificate in {certificate} with its key in {key}: {error}. Give two PEM files, the key "
            "unencrypted: --tls CERTIFICATE KEY. Without files, the program openssl makes them."
        ) from None
    if files:
        return context, None
    Path(key).unlink()
    return context, Path(certificate)
