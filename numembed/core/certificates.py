"""The certificates that tell whether a server is the one it says it is."""

from __future__ import annotations

import functools
import ssl


@functools.cache
def certificates(*, of_environment: bool) -> ssl.SSLContext:
    """Return the certificates of the system, read once; with ``of_environment`` those of SSL_CERT_FILE or _DIR."""
    import httpx2

    return httpx2.create_ssl_context(trust_env=of_environment)
