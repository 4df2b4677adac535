"""The client."""

from __future__ import annotations

import _thread
import asyncio
import atexit
import concurrent.futures
import contextlib
import ctypes
import datetime
import itertools
import logging
import math
import os
import threading
import weakref
from ctypes import POINTER, byref, c_void_p
from dataclasses import dataclass
from typing import Callable, Dict, Optional, Union

from . import _native
from ._kinds import Error, LogLevel, Roots, Status, known
from ._token import DEFAULT_BASE_URL, Token

LogFunction = Callable[[LogLevel, str], None]
ChangeFunction = Callable[[Union[Status, int]], None]

_DEFAULT_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class State:
    """What is known of a client, as documented for clopos_auth_state. Times are in seconds."""

    #: There is a token that has not expired.
    has_token: bool
    #: get_token() returns it without waiting.
    is_fresh: bool
    request_in_flight: bool
    #: None: there is no token.
    expires_in: Optional[float]
    refresh_in: Optional[float]
    #: 0: the next request may be sent now.
    next_request_in: float
    #: Of the last request that has finished; OK if there was none.
    last_status: Union[Status, int]
    #: None: no response was received.
    last_http_status: Optional[int]
    #: None: no request has finished yet.
    last_result_age: Optional[float]
    #: How many requests this client has made, and how many of them failed.
    requests: int
    failures: int
    #: Why the last one failed; None if it did not. Never a secret.
    last_message: Optional[str]


def version() -> str:
    """The version of the library that is running."""
    return str(_native.library().clopos_auth_version(), "ascii")


def log_to(logger: logging.Logger) -> LogFunction:
    """A log function that passes the lines to a logger of the logging module."""
    levels = {
        LogLevel.ERROR: logging.ERROR,
        LogLevel.WARN: logging.WARNING,
        LogLevel.INFO: logging.INFO,
        LogLevel.DEBUG: logging.DEBUG,
    }
    return lambda level, line: logger.log(levels.get(level, logging.DEBUG), "%s", line)


class _Callbacks:
    """Who is told of a client's log lines and changes. Does not know the client, which may be collected."""

    def __init__(self, log: Optional[LogFunction], on_change: Optional[ChangeFunction]) -> None:
        self.log = log
        self.on_change = on_change
        self._lock = threading.RLock()  # a signal handler may call cancel() at any moment
        self._waiting: Dict[asyncio.AbstractEventLoop, asyncio.Future[int]] = {}

    def next_change(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[int]:
        """The status of the next change, for all who wait in this loop."""
        with self._lock:
            # A signal handler may empty it between any two of these lines.
            for other in [other for other in self._waiting if other.is_closed()]:
                self._waiting.pop(other, None)
            future = self._waiting.get(loop)
            if future is None:
                future = self._waiting[loop] = loop.create_future()
            return future

    def wake(self, status: int) -> None:
        """Ends the waiting in all loops."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for loop, future in waiting.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(future.set_result, status)


# Those of the clients that are open, and their handles, by the number that the library passes along.
_callbacks: Dict[int, _Callbacks] = {}
_open: Dict[int, int] = {}
_numbers = itertools.count(1)


def _log(level: int, line: bytes, number: Optional[int]) -> None:
    callbacks = _callbacks.get(number or 0)
    if callbacks is not None and callbacks.log is not None:
        # ctypes passes an exception that leaves this to sys.unraisablehook, and goes on.
        callbacks.log(LogLevel(min(level, LogLevel.DEBUG)), line.decode())


def _changed(status: int, number: Optional[int]) -> None:
    callbacks = _callbacks.get(number or 0)
    if callbacks is not None:
        callbacks.wake(status)
        if callbacks.on_change is not None:
            callbacks.on_change(known(Status, status))  # as above


# One function for C receives for all clients, and lives as long as the library that calls it.
_receive_line = _native.LOG_FUNCTION(_log)
_receive_change = _native.CHANGE_FUNCTION(_changed)


def _close(handle: int, number: int) -> None:
    callbacks = _callbacks.get(number)
    if callbacks is not None:
        callbacks.wake(Status.CANCELLED)  # at once: what follows waits for the client's functions
    _native.library().clopos_auth_client_free(handle)
    _open.pop(number, None)
    _callbacks.pop(number, None)
    if callbacks is not None:
        callbacks.wake(Status.CANCELLED)  # who has come meanwhile


def _close_elsewhere(handle: int, number: int) -> None:
    """For the collector, which may run inside a log function that another one waits for."""
    if number in _open:
        # No thread can be started, or the program ends: _close_all() does it.
        with contextlib.suppress(RuntimeError):
            _thread.start_new_thread(_close, (handle, number))


@atexit.register
def _close_all() -> None:
    # None of the functions may be called while the interpreter shuts down.
    for number, handle in list(_open.items()):
        _close(handle, number)


class Client:
    """Signs in to the service and keeps the token. One for the whole program is enough.

    Settings that are None keep their defaults; ranges and meanings are those of clopos_auth.h.
    Times are in seconds. `ca_pem` is the content of a PEM file.

    `log` gets lines up to `log_level`; see log_to() for the logging module. `on_change` gets the status
    each time that a request has ended, OK if there is a new token, and when the next one has to wait.
    Both are called from any thread, may call this client (a call inside them never waits) and close it.
    An exception in them goes to sys.unraisablehook, and a slow one delays no call but close(), which
    waits for it.
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
        on_change: Optional[ChangeFunction] = None,
    ) -> None:
        who = [_text(part) for part in (client_id, client_secret, brand, integrator_id)]
        proxy_url = _text(proxy)
        del client_secret, proxy  # a traceback may show local variables
        #: Where the service is.
        self.base_url = base_url or DEFAULT_BASE_URL
        self._number = number = next(_numbers)
        library = _native.library()
        config = library.clopos_auth_config_new()
        if not config:
            raise MemoryError("libclopos_auth: no memory for settings")
        handle = c_void_p()
        callbacks = _Callbacks(log, on_change)
        _callbacks[number] = callbacks  # before there is a client: making it may write a line
        call = _native.call
        try:
            if base_url is not None:
                call("config_set_base_url", config, _text(base_url))
            if auth_path is not None:
                call("config_set_auth_path", config, _text(auth_path))
            if timeout is not None:
                call("config_set_timeout_ms", config, _milliseconds(timeout))
            if attempt_timeout is not None:
                call("config_set_attempt_timeout_ms", config, _milliseconds(attempt_timeout))
            if max_attempts is not None:
                call("config_set_max_attempts", config, _count(max_attempts))
            if requests_per_minute is not None:
                call("config_set_requests_per_minute", config, _count(requests_per_minute))
            if ca_pem is not None:
                pem = ca_pem.encode() if isinstance(ca_pem, str) else ca_pem
                call("config_add_ca_pem", config, pem, len(pem))
            if proxy_url is not None:
                call("config_set_proxy", config, proxy_url)
            if user_agent is not None:
                call("config_set_user_agent", config, _text(user_agent))
            call("config_set_roots", config, roots)
            call("config_set_allow_plain_http", config, allow_plain_http)
            if log is not None:
                call("config_set_log", config, log_level, _receive_line, number)
            call("config_set_on_change", config, _receive_change, number)
            call("client_new", *who, config, byref(handle))
        finally:
            library.clopos_auth_config_free(config)
            if not handle:
                del _callbacks[number]
        self._handle = handle.value or 0
        self._timeout = _DEFAULT_TIMEOUT_S if timeout is None else timeout
        self._callbacks = callbacks
        _open[number] = self._handle
        weakref.finalize(self, _close_elsewhere, self._handle, number).atexit = False

    def get_token(self, timeout: Optional[float] = None) -> Token:
        """The cached token while it is fresh, at once; else asks the service.

        Call it before every request instead of keeping a token yourself. `timeout` limits the whole
        call, in seconds; 0 never waits (WouldWaitError, and a request is started); None is the client's
        own. Ctrl-C ends the wait in the main thread.
        """
        if self.current() != 0:
            with contextlib.suppress(Error):  # another thread has invalidated it meanwhile
                return self._ask("get_token", 0)  # what there is, without a look at the thread
        return self._wait("get_token", timeout)

    async def get_token_async(self, timeout: Optional[float] = None) -> Token:
        """The same in an event loop of asyncio. No thread waits, however many tasks do."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._timeout if timeout is None else _seconds(timeout))
        failed = False  # the request that this call waited for
        while True:
            change = self._callbacks.next_change(loop)  # before asking, so that none is missed
            try:
                return self._ask("get_token", 0)
            except Error as error:
                left = deadline - loop.time()
                if error.status == Status.WOULD_WAIT and left <= 0 and timeout != 0:
                    raise Error(Status.TIMEOUT, "no token came in time", retryable=True) from None
                # A sign-in with further attempts goes on by itself.
                is_running = error.status == Status.WOULD_WAIT or self.state().request_in_flight
                pause = left if is_running else error.retry_after
                # Like the library it does not wait after these, although they may be retryable.
                if error.status in (Status.CLOCK, Status.PROTOCOL, Status.REJECTED):
                    raise
                if left <= 0 or not error.retryable or pause is None or pause > left:
                    raise
                if failed and not is_running:
                    raise
            await asyncio.wait([change], timeout=pause)
            if change.done():
                if change.result() == Status.CANCELLED:
                    raise Error(Status.CANCELLED, "the call was cancelled, or its client was closed")
                failed = is_running and change.result() != Status.OK

    def authenticate(self, timeout: Optional[float] = None) -> Token:
        """Asks the service, whatever is cached. For a "test the credentials" button."""
        return self._wait("authenticate", timeout)

    def current(self) -> int:
        """The `serial` of the token that get_token() would return now without a request, else 0."""
        return int(_native.library().clopos_auth_current(self._handle, None))

    def state(self) -> State:
        """What is known now, for a status display or a health check. Sends nothing, never waits."""
        state = POINTER(_native.CState)()
        _native.call("get_state", self._handle, byref(state))
        try:
            fields = state.contents
            return State(
                has_token=bool(fields.has_token),
                is_fresh=bool(fields.is_fresh),
                request_in_flight=bool(fields.request_in_flight),
                expires_in=_seconds_of(fields.expires_in_ms),
                refresh_in=_seconds_of(fields.refresh_in_ms),
                next_request_in=fields.next_request_in_ms / 1000,
                last_status=known(Status, fields.last_status),
                last_http_status=fields.last_http_status or None,
                last_result_age=_seconds_of(fields.last_result_age_ms),
                requests=fields.requests,
                failures=fields.failures,
                last_message=fields.last_message.decode() if fields.last_message is not None else None,
            )
        finally:
            _native.library().clopos_auth_state_free(state)

    def invalidate(self, refused: Union[Token, str, None] = None) -> None:
        """Forgets the cached token if it is still the one that the service refused (HTTP 401).

        The next call asks for another. None forgets whichever is cached. Never waits.
        """
        value = _text(refused.value if isinstance(refused, Token) else refused)
        del refused  # as above
        self._check(_native.library().clopos_auth_invalidate(self._handle, value))

    def cancel(self) -> None:
        """Makes every call that is waiting raise CallCancelledError. The client stays usable. Never waits."""
        self._check(_native.library().clopos_auth_cancel(self._handle))
        self._callbacks.wake(Status.CANCELLED)

    def close(self) -> None:
        """Ends the client: calls in progress raise CallCancelledError at once, later ones ClosedError.

        May be called by any thread, also from the client's functions, and again. After it has returned
        they are not called any more, also if another thread closes the client meanwhile. A client that is
        forgotten is closed in the background.
        """
        _close(self._handle, self._number)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = "" if self._number in _open else ", closed"
        return f"<clopos_auth.Client for {self.base_url}{closed}>"

    def _wait(self, name: str, timeout: Optional[float]) -> Token:
        """A call that may wait. Python sees Ctrl-C only while its main thread is not inside C."""
        milliseconds = _native.DEFAULT_TIMEOUT if timeout is None else _milliseconds(timeout)
        if milliseconds == 0 or not _is_main_thread():
            return self._ask(name, milliseconds)
        call: concurrent.futures.Future[Token] = concurrent.futures.Future()

        def ask() -> None:
            try:
                call.set_result(self._ask(name, milliseconds))
            except BaseException as error:
                call.set_exception(error)

        try:
            threading.Thread(target=ask, daemon=True).start()
        except RuntimeError:  # no thread can be started
            return self._ask(name, milliseconds)
        while not call.done():
            # On Windows nothing interrupts a wait without a timeout.
            concurrent.futures.wait([call], None if os.name == "posix" else 0.1)
        return call.result()

    def _ask(self, name: str, milliseconds: int) -> Token:
        token = POINTER(_native.CToken)()
        _native.call(name, self._handle, milliseconds, byref(token))
        try:
            fields = token.contents
            return Token(
                fields.value.decode(),
                fields.token_type.decode(),
                _time_of(fields.expires_at),
                datetime.timedelta(seconds=fields.expires_in),
                fields.serial,
            )
        finally:
            _native.library().clopos_auth_token_free(token)

    @staticmethod
    def _check(status: int) -> None:
        if status != Status.OK:
            _native.fail(status)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _text(text: Optional[str]) -> Optional[ctypes.Array[ctypes.c_char]]:
    """A text for C, whose repr() does not show it. None is NULL, which the library refuses by name."""
    if text is None:
        return None
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        encoded = b"\0"
    # A NUL inside would cut the text short. A control character is refused in the same way as NULL.
    return ctypes.create_string_buffer(b"\x01" if b"\0" in encoded else encoded)


def _seconds(seconds: float) -> float:
    if math.isnan(seconds):
        raise ValueError("a timeout cannot be NaN")
    return max(seconds, 0)


def _milliseconds(seconds: float) -> int:
    """Rounded up and clamped."""
    return math.ceil(min(_seconds(seconds) * 1000, _native.DEFAULT_TIMEOUT - 1))


def _seconds_of(milliseconds: int) -> Optional[float]:
    return milliseconds / 1000 if milliseconds >= 0 else None


def _count(number: int) -> int:
    """For a uint32_t, which ctypes would wrap around: what does not fit becomes 0, which is refused."""
    return number if 0 <= number <= 0xFFFF_FFFF else 0


def _time_of(unix_seconds: int) -> datetime.datetime:
    """As a date; the last one that Python has, if it lies beyond."""
    last = datetime.datetime.max.replace(microsecond=0, tzinfo=datetime.timezone.utc)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return epoch + datetime.timedelta(seconds=min(unix_seconds, (last - epoch).total_seconds()))
