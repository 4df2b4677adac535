"""The numbers of clopos_auth.h, and the exceptions."""

from __future__ import annotations

import enum
from typing import Any, Dict, Optional, Type, Union


class Status(enum.IntEnum):
    """The result of a call, as documented in clopos_auth.h."""

    OK = 0
    INVALID_ARGUMENT = 1
    INVALID_HANDLE = 2
    BUFFER_TOO_SMALL = 3
    INTERNAL = 4
    WOULD_WAIT = 5
    CANCELLED = 6
    TIMEOUT = 7
    DNS = 8
    CONNECT = 9
    TLS = 10
    CLOCK = 11
    PROXY = 12
    REJECTED = 13
    RATE_LIMITED = 14
    SERVER = 15
    PROTOCOL = 16


class Reason(enum.IntEnum):
    """Why the service refused a sign-in, if its response tells: for people and reports only."""

    UNKNOWN = 0
    CREDENTIALS = 1
    INTEGRATOR = 2
    ENVIRONMENT = 3
    DISABLED = 4
    MISSING_FIELD = 5


class Roots(enum.IntEnum):
    """Which root certificates are trusted, in addition to those in `ca_pem`."""

    BUNDLED = 0
    SYSTEM = 1
    NONE = 2


class LogLevel(enum.IntEnum):
    """The severity of a log line; a lower number is more severe."""

    ERROR = 1
    WARN = 2
    INFO = 3
    DEBUG = 4


def known(numbers: Type[enum.IntEnum], number: int) -> Any:
    """The member with this number; the number itself if the library is newer and has one more."""
    try:
        return numbers(number)
    except ValueError:
        return number


class Error(Exception):
    """Why a call failed. str() is one line for a log: the status' name and the message.

    Error(status, ...) makes an exception of the subclass for that status; your tests may do so as well.
    """

    def __new__(cls, status: Union[Status, int] = Status.INTERNAL, *rest: Any, **more: Any) -> Error:
        chosen = _CLASSES.get(status, Error) if cls is Error else cls
        error: Error = super(Error, chosen).__new__(chosen, status, *rest)
        return error

    def __init__(
        self,
        status: Union[Status, int],
        message: str,
        http_status: Optional[int] = None,
        retryable: bool = False,
        retry_after: Optional[float] = None,
        server_code: Optional[str] = None,
        reason: Union[Reason, int] = Reason.UNKNOWN,
    ) -> None:
        super().__init__(status, message, http_status, retryable, retry_after, server_code, reason)
        #: A Status; a plain number if the library is newer than this package and has one more.
        self.status = status
        #: One line for a log, never a secret. Its wording may change in any version.
        self.message = message
        #: The HTTP status of the response (of the proxy's, if the status is PROXY); None if there was none.
        self.http_status = http_status
        #: Whether the same call may succeed later without any change.
        self.retryable = retryable
        #: Seconds until the next request may be sent; None if there is no pause to wait for.
        self.retry_after = retry_after
        #: The "error" field of the response, an identifier or a sentence; None if there was none.
        self.server_code = server_code
        #: Why the service refused the sign-in, if the status is REJECTED; a plain number as above.
        self.reason = reason

    def __str__(self) -> str:
        return f"{getattr(self.status, 'name', self.status)}: {self.message}"


class InvalidArgumentError(Error, ValueError):
    """INVALID_ARGUMENT: a setting is empty, too long, out of range, or contains a control character."""


class ClosedError(Error):
    """INVALID_HANDLE: the client was used after it was closed."""


class WouldWaitError(Error):
    """WOULD_WAIT: the timeout was 0 and there is no token yet. A sign-in is running: call again."""


class CallCancelledError(Error):
    """CANCELLED: cancel() or close() ended the call."""


class SignInTimeoutError(Error, TimeoutError):
    """TIMEOUT: the call's timeout expired, or the service did not respond within the attempt timeout."""


class NetworkError(Error):
    """DNS, CONNECT, PROXY, and those of the subclass: no complete response was received."""


class CertificateError(NetworkError):
    """TLS, CLOCK: the server's certificate is not trusted, or not valid at this device's date."""


class ServiceError(Error):
    """SERVER, PROTOCOL, and those of the subclasses: there was a response, but no token."""


class RejectedError(ServiceError):
    """REJECTED: the service refused the sign-in (see `reason`), or the tokens that it issues (retryable)."""


class RateLimitedError(ServiceError):
    """RATE_LIMITED: too many requests; see `retry_after`."""


_CLASSES: Dict[int, Type[Error]] = {
    Status.INVALID_ARGUMENT: InvalidArgumentError,
    Status.INVALID_HANDLE: ClosedError,
    Status.WOULD_WAIT: WouldWaitError,
    Status.CANCELLED: CallCancelledError,
    Status.TIMEOUT: SignInTimeoutError,
    Status.DNS: NetworkError,
    Status.CONNECT: NetworkError,
    Status.PROXY: NetworkError,
    Status.TLS: CertificateError,
    Status.CLOCK: CertificateError,
    Status.REJECTED: RejectedError,
    Status.RATE_LIMITED: RateLimitedError,
    Status.SERVER: ServiceError,
    Status.PROTOCOL: ServiceError,
}
