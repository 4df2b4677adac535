"""Signs in to the Clopos Open API v2: libclopos_auth for Python, on ctypes.

    from clopos_auth import DEFAULT_BASE_URL, Client, urlopen

    with Client(client_id, client_secret, brand, integrator_id) as clopos:
        with urlopen(clopos, DEFAULT_BASE_URL + "/open-api/v2/venues") as response:
            ...

With the package requests: session.auth = RequestsAuth(clopos). With another HTTP library, put
clopos.get_token().value into the header x-token before each request: that is cheap. Do not send it to
other hosts: many HTTP libraries send all headers to the target of a redirect.

In asyncio: await clopos.get_token_async(). In your program's tests: a StaticSource instead of a Client.

Needs Python 3.9 and the shared library, version 1.1 or a later 1.x, which is loaded when it is first
needed: the file that CLOPOS_AUTH_LIBRARY names, otherwise from this package's folder, the one above, the
repository's target/release, or the system's library folders. If it cannot be loaded, an ImportError says
where it was looked for.

Any number of threads may call the methods of a client at the same time; they wait without the GIL.
Ctrl-C ends a call in the main thread. Failures are exceptions of the class Error:

    Error                     INTERNAL, and statuses that are newer than this package
      InvalidArgumentError    also a ValueError
      ClosedError
      WouldWaitError
      CallCancelledError
      SignInTimeoutError      also a TimeoutError
      NetworkError            DNS, CONNECT, PROXY
        CertificateError      TLS, CLOCK
      ServiceError            SERVER, PROTOCOL
        RejectedError
        RateLimitedError

python -m clopos_auth signs in and shows a token.
"""

# SPDX-License-Identifier: MIT OR Apache-2.0

from ._client import ChangeFunction, Client, LogFunction, State, log_to, version
from ._http import RequestsAuth, urlopen
from ._kinds import (
    CallCancelledError,
    CertificateError,
    ClosedError,
    Error,
    InvalidArgumentError,
    LogLevel,
    NetworkError,
    RateLimitedError,
    Reason,
    RejectedError,
    Roots,
    ServiceError,
    SignInTimeoutError,
    Status,
    WouldWaitError,
)
from ._token import DEFAULT_BASE_URL, StaticSource, Token, TokenSource

__all__ = [
    "DEFAULT_BASE_URL",
    "CallCancelledError",
    "CertificateError",
    "ChangeFunction",
    "Client",
    "ClosedError",
    "Error",
    "InvalidArgumentError",
    "LogFunction",
    "LogLevel",
    "NetworkError",
    "RateLimitedError",
    "Reason",
    "RejectedError",
    "RequestsAuth",
    "Roots",
    "ServiceError",
    "SignInTimeoutError",
    "State",
    "StaticSource",
    "Status",
    "Token",
    "TokenSource",
    "WouldWaitError",
    "log_to",
    "urlopen",
    "version",
]

#: The version of this package; that of the library that is running is version().
__version__ = "1.1.0"
