"""Whether a handshake that failed is worth another try, and when."""

from __future__ import annotations

import email.utils
import math
import ssl
import time

from websockets.exceptions import InvalidMessage, InvalidProxyStatus, InvalidStatus, ProxyError

__all__ = ["is_transient", "retry_after"]


def is_transient(error: Exception) -> bool:
    """Whether trying again may help: nobody was reached, or whoever answered is overloaded or at fault itself."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return status in (408, 429) or 500 <= status < 600
    if isinstance(error, ssl.SSLError):
        # A certificate, or a server that speaks no TLS. A line that broke in the middle is an SSLEOFError.
        return isinstance(error, ssl.SSLEOFError)
    if isinstance(error, InvalidProxyStatus):
        return error.response.status_code >= 500
    # InvalidMessage: the line ended before the answer did.
    return isinstance(error, (OSError, EOFError, InvalidMessage, ProxyError))


def retry_after(error: Exception) -> float | None:
    """Seconds that the server wants to be left alone, where it says so (RFC 9110, 10.2.3: seconds or a date)."""
    if not isinstance(error, InvalidStatus):
        return None
    told = error.response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(told).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
