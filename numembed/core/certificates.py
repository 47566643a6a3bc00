"""The certificates that tell whether a server is the one it says it is."""

from __future__ import annotations

import functools
import os
import ssl

from numembed.core.errors import BadSettings, reason_of

_NAMED = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


@functools.cache
def certificates() -> ssl.SSLContext:
    """Return the certificates to trust, read once: those of SSL_CERT_FILE or SSL_CERT_DIR, else well-known ones.

    A file in REQUESTS_CA_BUNDLE is trusted too. Raises BadSettings where a named file cannot be read.
    """
    import httpx2

    named = {name: os.environ[name] for name in _NAMED if os.environ.get(name)}
    try:
        context = httpx2.create_ssl_context()
        if bundle := named.get("REQUESTS_CA_BUNDLE"):
            context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
    except OSError as error:  # ssl.SSLError is one
        listed = " and ".join(named) or "the system's store"
        raise BadSettings(f"The certificates of {listed} cannot be read. {reason_of(error)}") from None
    return context
