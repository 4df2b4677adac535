#!/usr/bin/env python3
"""Signs in to the Clopos Open API v2: libclopos_auth for Python, in one file, on ctypes.

    from clopos_auth import DEFAULT_BASE_URL, Client, urlopen

    with Client(client_id, client_secret, brand, integrator_id) as clopos:
        with urlopen(clopos, DEFAULT_BASE_URL + "/open-api/v2/venues") as response:
            ...

With another HTTP library, put clopos.get_token().value into the header x-token before each request:
that is cheap. It must not go to other hosts; requests, for example, takes headers along on a redirect.

Needs Python 3.8 and the shared library, which is looked for at CLOPOS_AUTH_LIBRARY (a path), beside
this file, in the repository's target/release, and where the system keeps its libraries.

Every method of a client may be called by any number of threads; they wait without holding the GIL.
Failures are exceptions of the class Error. Ctrl-C ends a call in the main thread only when it returns:
give it a timeout where that matters.

Run as a program, it shows a token and the venues: CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET,
CLOPOS_BRAND and CLOPOS_INTEGRATOR_ID say who signs in; CLOPOS_BASE_URL names another server than the
real one, CLOPOS_CA_FILE a PEM file with the only CA to trust: both for the sandbox.
"""

# SPDX-License-Identifier: MIT OR Apache-2.0

import _thread
import atexit
import ctypes
import ctypes.util
import datetime
import enum
import io
import itertools
import logging
import math
import os
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request
import weakref
from ctypes import POINTER, byref, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple, Type, Union

__all__ = [
    "DEFAULT_BASE_URL",
    "Client",
    "Error",
    "LogLevel",
    "Reason",
    "Roots",
    "Status",
    "Token",
    "log_to",
    "urlopen",
    "version",
]

#: Where the service is.
DEFAULT_BASE_URL = "https://integrations.clopos.com"


class Status(enum.IntEnum):
    """What a call came to, as documented in clopos_auth.h."""

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
    """Why the service refused a sign-in, as far as its answer says: for people, not for decisions."""

    UNKNOWN = 0
    CREDENTIALS = 1
    INTEGRATOR = 2
    ENVIRONMENT = 3
    DISABLED = 4
    MISSING_FIELD = 5


class Roots(enum.IntEnum):
    """Which root certificates are trusted, beside those that are added."""

    BUNDLED = 0
    SYSTEM = 1
    NONE = 2


class LogLevel(enum.IntEnum):
    """How important a log line is: the smaller, the more."""

    ERROR = 1
    WARN = 2
    INFO = 3
    DEBUG = 4


LogFunction = Callable[[LogLevel, str], None]


class Error(Exception):
    """Why a call failed. str() is one line for a log: the status' name and the message."""

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
        #: A Status; a plain number if the library is newer than this file and has one more.
        self.status = status
        #: One line, never a secret.
        self.message = message
        #: The HTTP status of the response; None where no response was received.
        self.http_status = http_status
        #: Whether the same call may succeed later without anybody changing anything.
        self.retryable = retryable
        #: Seconds until the next call can lead to a request, where that is known.
        self.retry_after = retry_after
        #: The service's own identifier of the failure, where it gave one.
        self.server_code = server_code
        #: Why the service refused the credentials, if it did; a plain number if it is a newer one.
        self.reason = reason

    def __str__(self) -> str:
        return f"{_name_of(self.status)}: {self.message}"


class _Secret:
    """A text that repr(), vars(), pickle and tracebacks with local variables do not show."""

    __slots__ = ("reveal",)

    def __init__(self, text: str) -> None:
        self.reveal: Callable[[], str] = lambda: text

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")

    def __deepcopy__(self, _memo: object) -> "_Secret":
        return self


class Token:
    """A token, good for one request: get the next one from the client again.

    Neither repr() nor vars() shows its value, and pickle refuses it.
    """

    def __init__(
        self,
        value: str,
        token_type: str,
        expires_at: datetime.datetime,
        expires_in: datetime.timedelta,
    ) -> None:
        self._value = _Secret(value)
        #: "Bearer", which the header x-token does not want.
        self.token_type = token_type
        #: When it ends, on the server's clock; this device's may differ.
        self.expires_at = expires_at
        #: What was left of its life when it was handed out, whatever this device's date says.
        self.expires_in = expires_in

    @property
    def value(self) -> str:
        """The JWT, to be sent as it is in the header x-token."""
        return self._value.reveal()

    def __repr__(self) -> str:
        return f"Token({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class _CToken(ctypes.Structure):
    _fields_ = [
        ("value", c_char_p),
        ("value_len", c_size_t),
        ("token_type", c_char_p),
        ("expires_at", c_int64),
        ("expires_in", c_int64),
    ]


class _CError(ctypes.Structure):
    _fields_ = [
        ("status", c_int32),
        ("http_status", c_int32),
        ("retryable", c_int32),
        ("retry_after_ms", c_int64),
        ("server_code", c_char_p),
        ("message", c_char_p),
        ("reason", c_int32),
    ]


_LOG_FUNCTION = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)
_TOKEN_OUT = POINTER(POINTER(_CToken))
_ERROR_OUT = POINTER(POINTER(_CError))
_DEFAULT_TIMEOUT = 0xFFFF_FFFF


def _find_library() -> str:
    """The path of the library, or a name that the system's loader knows."""
    chosen = os.environ.get("CLOPOS_AUTH_LIBRARY")
    if chosen:
        return chosen
    name = {"win32": "clopos_auth.dll", "darwin": "libclopos_auth.dylib"}.get(
        sys.platform, "libclopos_auth.so"
    )
    here = pathlib.Path(__file__).resolve().parent
    for directory in [here, here.parent.parent / "target" / "release"]:
        if (directory / name).exists():
            return str(directory / name)
    return ctypes.util.find_library("clopos_auth") or name.replace(".so", ".so.1")


def _load() -> ctypes.CDLL:
    # CDLL, not PyDLL: other threads run while a call waits.
    library = ctypes.CDLL(_find_library())
    functions: Dict[str, List[Any]] = {
        "config_set_base_url": [c_char_p],
        "config_set_auth_path": [c_char_p],
        "config_set_timeout_ms": [c_uint32],
        "config_set_attempt_timeout_ms": [c_uint32],
        "config_set_max_attempts": [c_uint32],
        "config_set_requests_per_minute": [c_uint32],
        "config_set_roots": [c_int32],
        "config_add_ca_pem": [c_char_p, c_size_t],
        "config_set_proxy": [c_char_p],
        "config_set_user_agent": [c_char_p],
        "config_set_allow_plain_http": [c_int32],
        "config_set_log": [c_int32, _LOG_FUNCTION, c_void_p],
    }
    functions = {name: [c_void_p, *types, _ERROR_OUT] for name, types in functions.items()}
    functions["client_new"] = [c_char_p] * 4 + [c_void_p, POINTER(c_void_p), _ERROR_OUT]
    functions["get_token"] = [c_void_p, c_uint32, _TOKEN_OUT, _ERROR_OUT]
    functions["authenticate"] = functions["get_token"]
    functions["invalidate"] = [c_void_p, c_char_p]
    functions["cancel"] = [c_void_p]
    for name, types in functions.items():
        function = getattr(library, "clopos_auth_" + name)
        function.argtypes, function.restype = types, c_int32
    for name, argument in {
        "config_free": c_void_p,
        "client_free": c_void_p,
        "token_free": POINTER(_CToken),
        "error_free": POINTER(_CError),
    }.items():
        function = getattr(library, "clopos_auth_" + name)
        function.argtypes, function.restype = [argument], None
    library.clopos_auth_config_new.argtypes = []
    library.clopos_auth_config_new.restype = c_void_p
    library.clopos_auth_status_name.argtypes = [c_int32]
    library.clopos_auth_status_name.restype = c_char_p
    library.clopos_auth_version.argtypes = []
    library.clopos_auth_version.restype = c_char_p
    library.clopos_auth_version_number.argtypes = []
    library.clopos_auth_version_number.restype = c_uint32
    if library.clopos_auth_version_number() >> 16 != 1:
        raise ImportError(f"{library._name} is not version 1 of libclopos_auth")
    return library


_library = _load()


def version() -> str:
    """The version of the library that is running."""
    return str(_library.clopos_auth_version(), "ascii")


def _version_number() -> int:
    return int(_library.clopos_auth_version_number())


def _name_of(status: int) -> str:
    return str(_library.clopos_auth_status_name(status), "ascii")


def _text(text: Optional[str]) -> "Optional[ctypes.Array[ctypes.c_char]]":
    """A text for C, whose repr() does not show it. None is NULL, which the library refuses by name."""
    if text is None:
        return None
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        encoded = b"\0"
    # A NUL inside would cut the text short. A control character is refused in the same way as NULL.
    return ctypes.create_string_buffer(b"\x01" if b"\0" in encoded else encoded)


def _milliseconds(seconds: float) -> int:
    """Rounded up, so that a little is not nothing; what does not fit becomes the nearest that does."""
    if math.isnan(seconds):
        raise ValueError("a timeout cannot be NaN")
    return math.ceil(min(max(seconds, 0) * 1000, _DEFAULT_TIMEOUT - 1))


def _known(numbers: Type[enum.IntEnum], number: int) -> int:
    """The member with this number; the number itself if the library is newer and has one more."""
    return numbers(number) if number in numbers._value2member_map_ else number


def _raise(status: int, error: "ctypes._Pointer[_CError]") -> NoReturn:
    """Raises what a call returned, and frees it."""
    known = _known(Status, status)
    if not error:
        raise Error(known, "no more is known")
    try:
        fields = error.contents
        raised = Error(
            known,
            fields.message.decode(),
            fields.http_status or None,
            bool(fields.retryable),
            fields.retry_after_ms / 1000 if fields.retry_after_ms >= 0 else None,
            fields.server_code.decode() if fields.server_code is not None else None,
            # In memory that an older library does not have.
            _known(Reason, fields.reason) if _version_number() >= 0x010100 else Reason.UNKNOWN,
        )
    finally:
        _library.clopos_auth_error_free(error)
    raise raised


def _call(name: str, *arguments: object) -> None:
    """Calls a function whose last parameter is an error; raises that."""
    error = POINTER(_CError)()
    status = getattr(_library, "clopos_auth_" + name)(*arguments, byref(error))
    if status != Status.OK:
        _raise(status, error)


def log_to(logger: logging.Logger) -> LogFunction:
    """A log function that hands the lines to a logger of the logging module."""
    levels = {
        LogLevel.ERROR: logging.ERROR,
        LogLevel.WARN: logging.WARNING,
        LogLevel.INFO: logging.INFO,
        LogLevel.DEBUG: logging.DEBUG,
    }
    return lambda level, line: logger.log(levels.get(level, logging.DEBUG), "%s", line)


# The log functions of the clients that are open, by the number that the library passes along.
_logs: Dict[int, LogFunction] = {}
_numbers = itertools.count(1)


def _log(level: int, line: bytes, number: Optional[int]) -> None:
    log = _logs.get(number or 0)
    if log is not None:
        # ctypes shows an exception that leaves this, and goes on.
        log(LogLevel(min(level, LogLevel.DEBUG)), line.decode())


# One function for C receives for all clients, and lives as long as the library that calls it.
_receive = _LOG_FUNCTION(_log)


# The clients that are open: their handles, by the same numbers.
_open: Dict[int, int] = {}


def _close(handle: int, number: int) -> None:
    _library.clopos_auth_client_free(handle)
    _open.pop(number, None)
    _logs.pop(number, None)


def _close_elsewhere(handle: int, number: int) -> None:
    """For the collector, which may run inside a log function that another one waits for."""
    if number in _open:
        try:
            _thread.start_new_thread(_close, (handle, number))
        except RuntimeError:  # no thread can be had, or the program ends: _close_all() does it
            pass


@atexit.register
def _close_all() -> None:
    # The library's thread must not call a log function of an interpreter that is being taken down.
    for number, handle in list(_open.items()):
        _close(handle, number)


class Client:
    """Signs in to the service and keeps the token. One for the whole program is enough.

    Settings that are None keep their defaults; ranges and meanings are those of clopos_auth.h.
    Times are in seconds. `ca_pem` is the content of a PEM file. `log` gets lines up to `log_level`,
    from any thread; see log_to() for the logging module.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        brand: str,
        integrator_id: str,
        *,
        base_url: Optional[str] = None,
        auth_path: Optional[str] = None,
        timeout: Optional[float] = None,
        attempt_timeout: Optional[float] = None,
        max_attempts: Optional[int] = None,
        requests_per_minute: Optional[int] = None,
        roots: Roots = Roots.BUNDLED,
        ca_pem: Union[str, bytes, None] = None,
        proxy: Optional[str] = None,
        user_agent: Optional[str] = None,
        allow_plain_http: bool = False,
        log: Optional[LogFunction] = None,
        log_level: LogLevel = LogLevel.INFO,
    ) -> None:
        who = [_text(part) for part in (client_id, client_secret, brand, integrator_id)]
        proxy_url = _text(proxy)
        del client_secret, proxy  # a traceback may show local variables
        config = _library.clopos_auth_config_new()
        if not config:
            raise MemoryError("libclopos_auth: no memory for settings")
        number = next(_numbers)
        handle = c_void_p()
        try:
            if base_url is not None:
                _call("config_set_base_url", config, _text(base_url))
            if auth_path is not None:
                _call("config_set_auth_path", config, _text(auth_path))
            if timeout is not None:
                _call("config_set_timeout_ms", config, _milliseconds(timeout))
            if attempt_timeout is not None:
                _call("config_set_attempt_timeout_ms", config, _milliseconds(attempt_timeout))
            if max_attempts is not None:
                _call("config_set_max_attempts", config, _count(max_attempts))
            if requests_per_minute is not None:
                _call("config_set_requests_per_minute", config, _count(requests_per_minute))
            if ca_pem is not None:
                pem = ca_pem.encode() if isinstance(ca_pem, str) else ca_pem
                _call("config_add_ca_pem", config, pem, len(pem))
            if proxy_url is not None:
                _call("config_set_proxy", config, proxy_url)
            if user_agent is not None:
                _call("config_set_user_agent", config, _text(user_agent))
            _call("config_set_roots", config, roots)
            _call("config_set_allow_plain_http", config, allow_plain_http)
            if log is not None:
                _logs[number] = log  # before there is a client: making it may write a line
                _call("config_set_log", config, log_level, _receive, number)
            _call("client_new", *who, config, byref(handle))
        finally:
            _library.clopos_auth_config_free(config)
            if not handle:
                _logs.pop(number, None)
        self._handle = handle.value or 0
        #: Where the service is.
        self.base_url = base_url or DEFAULT_BASE_URL
        self._number = number
        _open[number] = self._handle
        weakref.finalize(self, _close_elsewhere, self._handle, number).atexit = False

    def get_token(self, timeout: Optional[float] = None) -> Token:
        """The cached token while it is fresh, at once; else asks the service.

        Call it before every request instead of keeping a token yourself. `timeout` bounds the whole
        call, in seconds; 0 never waits (WOULD_WAIT, and a request is started); None is the client's
        own.
        """
        return self._ask("get_token", timeout)

    def authenticate(self, timeout: Optional[float] = None) -> Token:
        """Asks the service, whatever is cached. For a "test the credentials" button."""
        return self._ask("authenticate", timeout)

    def invalidate(self, refused: Union[Token, str, None] = None) -> None:
        """Forgets the cached token if it is still the one that the service refused (HTTP 401).

        The next call asks for another. None forgets whichever is cached. Never waits.
        """
        value = _text(refused.value if isinstance(refused, Token) else refused)
        del refused  # as above
        self._check(_library.clopos_auth_invalidate(self._handle, value))

    def cancel(self) -> None:
        """Makes every call that is waiting raise CANCELLED. The client stays usable. Never waits."""
        self._check(_library.clopos_auth_cancel(self._handle))

    def close(self) -> None:
        """Ends the client: calls in progress raise CANCELLED at once, later ones INVALID_HANDLE.

        May be called by any thread, also from the log function, and again. After it has returned the
        log function is not called any more, also if another thread closes the client meanwhile. A client
        that is forgotten is closed in the background.
        """
        _close(self._handle, self._number)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _ask(self, name: str, timeout: Optional[float]) -> Token:
        timeout_ms = _DEFAULT_TIMEOUT if timeout is None else _milliseconds(timeout)
        token = POINTER(_CToken)()
        _call(name, self._handle, timeout_ms, byref(token))
        try:
            fields = token.contents
            return Token(
                fields.value.decode(),
                fields.token_type.decode(),
                _time_of(fields.expires_at),
                datetime.timedelta(seconds=fields.expires_in),
            )
        finally:
            _library.clopos_auth_token_free(token)

    @staticmethod
    def _check(status: int) -> None:
        if status != Status.OK:
            _raise(status, POINTER(_CError)())


def _count(number: int) -> int:
    """For a uint32_t, which ctypes would wrap around: what does not fit becomes 0, which is refused."""
    return number if 0 <= number <= 0xFFFF_FFFF else 0


def _time_of(unix_seconds: int) -> datetime.datetime:
    """As a date; the last one that Python has, if it lies beyond."""
    last = datetime.datetime.max.replace(microsecond=0, tzinfo=datetime.timezone.utc)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return epoch + datetime.timedelta(seconds=min(unix_seconds, (last - epoch).total_seconds()))


def urlopen(client: Client, request: Union[str, urllib.request.Request], **options: Any) -> Any:
    """urllib.request.urlopen() with the client's current token in the header x-token.

    Where the service refuses that token, asks for a new one and sends the request once more, if its data
    is bytes or None. Where there is no new one, the caller gets the refusal itself as an HTTPError, and
    so it does for every other 401: a new token would not help. Other hosts, also those of redirects, get
    no token.
    """
    if isinstance(request, str):
        request = urllib.request.Request(request)
    if _origin(request.full_url) != _origin(client.base_url):
        return urllib.request.urlopen(request, **options)
    token = client.get_token()
    try:
        return _send(request, token, options)
    except urllib.error.HTTPError as refusal:
        if refusal.code != 401:
            raise
        body = refusal.read()
        other = None
        if b"Invalid token" in body or b"Token expired" in body:
            other = _other_token(client, token)
        if other is None or not isinstance(request.data, (bytes, type(None))):
            raise urllib.error.HTTPError(
                refusal.url, refusal.code, refusal.reason, refusal.headers, io.BytesIO(body)
            ) from None
    return _send(request, other, options)


def _other_token(client: Client, refused: Token) -> Optional[Token]:
    try:
        client.invalidate(refused)
        return client.get_token()
    except Error:
        return None


def _send(request: urllib.request.Request, token: Token, options: Dict[str, Any]) -> Any:
    # A copy: urllib changes what it sends, and with a proxy the same Request, sent again, would go out
    # without TLS.
    copy = urllib.request.Request(
        request.full_url,
        request.data,
        request.headers,
        request.origin_req_host,
        request.unverifiable,
        request.get_method(),
    )
    copy.unredirected_hdrs.update(request.unredirected_hdrs)
    # The other kind of header would go along to the target of a redirect.
    copy.add_unredirected_header("X-token", token.value)
    return urllib.request.urlopen(copy, **options)


def _origin(url: str) -> Tuple[str, Optional[str], int]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def main() -> int:
    """Shows a token and the venues."""
    import ssl

    base_url = os.environ.get("CLOPOS_BASE_URL", DEFAULT_BASE_URL)
    ca_file = os.environ.get("CLOPOS_CA_FILE")

    logging.basicConfig(format="clopos %(levelname)s %(message)s", level=logging.INFO)
    try:
        # A variable that is not set is an empty text: the library names it in its error.
        with Client(
            client_id=os.environ.get("CLOPOS_CLIENT_ID", ""),
            client_secret=os.environ.get("CLOPOS_CLIENT_SECRET", ""),
            brand=os.environ.get("CLOPOS_BRAND", ""),
            integrator_id=os.environ.get("CLOPOS_INTEGRATOR_ID", ""),
            base_url=base_url,
            ca_pem=pathlib.Path(ca_file).read_bytes() if ca_file else None,
            roots=Roots.NONE if ca_file else Roots.BUNDLED,
            log=log_to(logging.getLogger()),
        ) as clopos:
            token = clopos.get_token()
            # What this example is for. Real programs never print a token: whoever reads it can act
            # as this integration until it ends.
            print("token:  ", token.value)
            seconds = int(token.expires_in.total_seconds())
            print(f"expires: {token.expires_at:%Y-%m-%d %H:%M:%S} UTC, in {seconds} s")

            url = base_url + "/open-api/v2/venues"
            print("GET", url)
            context = ssl.create_default_context(cafile=ca_file)
            with urlopen(clopos, url, timeout=30, context=context) as response:
                print(str(response.read(), "utf-8"))
    except (Error, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
