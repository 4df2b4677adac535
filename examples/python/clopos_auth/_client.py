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
_TIMED_OUT = "the call timed out; the sign-in continues"
_CANCELLED = "the call was cancelled, or its client was closed"


@dataclass(frozen=True)
class State:
    """What was known of a client when state() was called. Times are in seconds.

    The counts are those of this process: in a child of os.fork() they start at 0.
    """

    #: There is a token that has not expired.
    has_token: bool
    #: get_token() would return that token immediately.
    is_fresh: bool
    #: A sign-in is running, also while it waits before its next attempt.
    request_in_flight: bool
    #: Until the token expires; None if there is none.
    expires_in: Optional[float]
    #: Until the token is due to be replaced, 0 if it is; None if there is none.
    refresh_in: Optional[float]
    #: Until the next request may be sent; 0 if it may be sent now.
    next_request_in: float
    #: The result of the last request that has ended; OK if there was none.
    last_status: Union[Status, int]
    #: The HTTP status of its response; None if none was received.
    last_http_status: Optional[int]
    #: Since that result; None if no request has ended yet.
    last_result_age: Optional[float]
    #: The number of requests, including those that did not reach the service.
    requests: int
    #: The number of attempts that failed.
    failures: int
    #: The message of last_status, never a secret; None if that is OK.
    last_message: Optional[str]


def version() -> str:
    """Returns the version of the library that is running, "MAJOR.MINOR.PATCH"."""
    return str(_native.library().clopos_auth_version(), "ascii")


def log_to(logger: logging.Logger) -> LogFunction:
    """Returns a log function that passes the lines to a logger of the logging module."""
    levels = {
        LogLevel.ERROR: logging.ERROR,
        LogLevel.WARN: logging.WARNING,
        LogLevel.INFO: logging.INFO,
        LogLevel.DEBUG: logging.DEBUG,
    }
    return lambda level, line: logger.log(levels.get(level, logging.DEBUG), "%s", line)


class _Callbacks:
    """A client's functions and waiting tasks. Does not refer to the client, so that it can be collected."""

    def __init__(self, log: Optional[LogFunction], on_change: Optional[ChangeFunction]) -> None:
        self.log = log
        self.on_change = on_change
        #: Grows with each cancel() and close().
        self.cancels = 0
        self._lock = threading.RLock()  # a signal handler may call cancel() at any moment
        self._waiting: Dict[asyncio.AbstractEventLoop, asyncio.Future[int]] = {}

    def after_fork(self) -> None:
        """For a forked child: another thread of the parent may have held the lock, and its tasks wait there."""
        self._lock = threading.RLock()
        self._waiting = {}

    def next_change(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[int]:
        """Returns a future for the status of the next change, one for all tasks of a loop."""
        with self._lock:
            # A signal handler may empty _waiting between any two of these lines.
            for other in [other for other in self._waiting if other.is_closed()]:
                self._waiting.pop(other, None)
            future = self._waiting.get(loop)
            if future is None:
                future = self._waiting[loop] = loop.create_future()
            return future

    def wake(self, status: int) -> None:
        """Sets the result of all futures."""
        with self._lock:
            if status == Status.CANCELLED:
                self.cancels += 1
            waiting, self._waiting = self._waiting, {}
        for loop, future in waiting.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(future.set_result, status)


# The callbacks and handles of the open clients. The key is the `user` that the library passes.
_callbacks: Dict[int, _Callbacks] = {}
_open: Dict[int, int] = {}
# A lock for each thread of _close_in_thread(), held until its client is closed.
_closing: Dict[int, _thread.LockType] = {}


def _after_fork() -> None:
    _closing.clear()  # the child has none of these threads
    _native.after_fork()
    for callbacks in _callbacks.values():
        callbacks.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
_numbers = itertools.count(1)


def _log(level: int, line: bytes, number: Optional[int]) -> None:
    callbacks = _callbacks.get(number or 0)
    if callbacks is not None and callbacks.log is not None:
        # ctypes passes an exception to sys.unraisablehook.
        callbacks.log(LogLevel(min(level, LogLevel.DEBUG)), line.decode())


def _changed(status: int, number: Optional[int]) -> None:
    callbacks = _callbacks.get(number or 0)
    if callbacks is not None:
        callbacks.wake(status)
        if callbacks.on_change is not None:
            callbacks.on_change(known(Status, status))  # as above


# One pair of C functions for all clients, never freed: the library may call them at any time.
_receive_line = _native.LOG_FUNCTION(_log)
_receive_change = _native.CHANGE_FUNCTION(_changed)


def _close(handle: int, number: int) -> None:
    callbacks = _callbacks.get(number)
    if callbacks is not None:
        callbacks.wake(Status.CANCELLED)  # before the next line, which may wait for the client's functions
    _native.library().clopos_auth_client_free(handle)
    _open.pop(number, None)
    _callbacks.pop(number, None)
    if callbacks is not None:
        callbacks.wake(Status.CANCELLED)  # tasks that began to wait meanwhile


def _close_in_thread(handle: int, number: int) -> None:
    """For the garbage collector: it may run in a log function, which must free no client but its own."""

    def close() -> None:
        try:
            _close(handle, number)
        finally:
            _closing.pop(number, None)
            closed.release()

    if number in _open:
        closed = _closing[number] = _thread.allocate_lock()
        closed.acquire()
        try:
            _thread.start_new_thread(close, ())
        except RuntimeError:  # no thread can be started, or the interpreter shuts down: _close_all() closes it
            _closing.pop(number, None)


@atexit.register
def _close_all() -> None:
    # The library must not call into an interpreter that shuts down.
    for number, handle in list(_open.items()):
        _close(handle, number)
    # Nor may a thread start in it: Python would crash.
    for closed in list(_closing.values()):
        closed.acquire()


class Client:
    """Signs in to the service and keeps the token. Make one for the whole program.

    The first four arguments are the credentials. The first three are the store's: its back office shows
    client_id and client_secret. integrator_id is issued by Clopos. Settings that are None have their defaults;
    clopos_auth.h has the details of each.

    base_url: "https://HOST[:PORT][/PREFIX]".
    auth_path: the path of the sign-in, which is added to base_url. Default: "/open-api/v2/auth".
    timeout: of calls that specify none, in seconds: 0.001 to 3600. Default: 30.
    attempt_timeout: of one attempt, in seconds: 0.001 to 600. Default: 10.
    max_attempts: of one sign-in: 1 to 10. Default: 3.
    requests_per_minute: the maximum that can reach the service in any minute: 1 to 60. Default: 12.
    roots, ca_pem: the trusted root certificates; ca_pem is the content of a PEM file, 1 MiB at most.
    proxy: "environment" (the default), "none", or "http://[USER[:PASSWORD]@]HOST[:PORT]".
    user_agent: names the program, "MyTill/4.2".
    allow_plain_http: permits "http://" to other hosts, with the client secret unencrypted: for testing only.
    log: receives the log lines of severity log_level and higher; log_to() makes one for logging.
    on_change: called when a call with a timeout of 0 would return something new: once each time that an
        attempt has ended, and if a sign-in has to wait before it can send one. Its argument is OK if there
        is a new token, otherwise why the attempt failed or has to wait.

    log and on_change are called on any thread, and on several at the same time, until close() has returned.
    A sign-in waits while they run, so a call with this client inside them does not wait. They may close
    this client, and no other. An exception in them goes to sys.unraisablehook. The client keeps them alive
    until it is closed: if one of them refers to the client (a closure, a method of an object that has it),
    the client is never garbage collected, so close it.

    Raises InvalidArgumentError (the message names the argument), NetworkError if the proxy of the environment
    cannot be used, and ImportError if the library cannot be loaded.
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
        del client_secret, proxy  # tracebacks may show local variables
        #: Where the service is.
        self.base_url = base_url or DEFAULT_BASE_URL
        self._number = number = next(_numbers)
        library = _native.library()
        config = library.clopos_auth_config_new()
        if not config:
            raise MemoryError("libclopos_auth: no handle is left for the settings")
        handle = c_void_p()
        callbacks = _Callbacks(log, on_change)
        _callbacks[number] = callbacks  # first: client_new() may log a line
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
        weakref.finalize(self, _close_in_thread, self._handle, number).atexit = False

    def get_token(self, timeout: Optional[float] = None) -> Token:
        """Returns the cached token if it is fresh, immediately; otherwise requests a new one.

        Call it before every request instead of keeping a token yourself. `timeout` limits the whole call, in
        seconds. 0 does not wait: without a token it starts or joins a sign-in and raises WouldWaitError, or
        the last error while no request may be sent. None is the client's timeout. A loop of calls must wait
        for the error's `retry_after`. Ctrl-C ends the wait in the main thread; the sign-in continues.
        """
        if self.current() != 0:
            with contextlib.suppress(Error):  # another thread has invalidated it meanwhile
                return self._call("get_token", 0)  # cheaper than _wait(), which looks at the thread
        return self._wait("get_token", timeout)

    async def get_token_async(self, timeout: Optional[float] = None) -> Token:
        """Like get_token(), in an event loop of asyncio. Waiting tasks occupy no threads.

        Cancelling the task ends this call only.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._timeout if timeout is None else _seconds(timeout))
        cancels = self._callbacks.cancels
        failed = False  # whether the request that this call waited for has failed
        while True:
            change = self._callbacks.next_change(loop)  # before the call, so that no change is missed
            try:
                return self._call("get_token", 0)
            except Error as error:
                if self._callbacks.cancels != cancels:  # also if another thread has just closed it
                    raise Error(Status.CANCELLED, _CANCELLED) from None
                left = deadline - loop.time()
                if error.status == Status.WOULD_WAIT and left <= 0 and timeout != 0:
                    raise Error(Status.TIMEOUT, _TIMED_OUT, retryable=True) from None
                # A sign-in with further attempts continues without another call.
                is_running = error.status == Status.WOULD_WAIT or self._is_in_flight()
                pause = left if is_running else error.retry_after
                # Like the library it does not wait after these, although they may be retryable.
                if error.status in (Status.CLOCK, Status.PROTOCOL, Status.REJECTED):
                    raise
                if left <= 0 or not error.retryable or pause is None or pause > left:
                    raise
                if failed and not is_running:
                    raise
            await asyncio.wait([change], timeout=pause)
            # Not change.result(): another change may have woken this task just before.
            if self._callbacks.cancels != cancels:
                raise Error(Status.CANCELLED, _CANCELLED)
            if change.done():
                failed = is_running and change.result() != Status.OK

    def authenticate(self, timeout: Optional[float] = None) -> Token:
        """Signs in now: requests a new token even if one is cached, or joins a sign-in that is running.

        The new token replaces the cached one. For a "test the credentials" button. `timeout` is that of
        get_token().
        """
        return self._wait("authenticate", timeout)

    def current(self) -> int:
        """Returns the `serial` of the cached token if that is fresh and not due to be replaced, otherwise 0.

        Never waits.
        """
        return int(_native.library().clopos_auth_current(self._handle, None))

    def state(self) -> State:
        """Returns what is known of the client, for a status display or a health check.

        Never sends a request, and never waits for one.
        """
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
        """Drops the cached token because the service refused it: the next call requests a new one.

        Call it if another endpoint answers HTTP 401 and the body contains "Invalid token" or "Token expired";
        any other 401 is not about the token. Drops only the token that was refused, not a newer one. None drops
        any cached token, which also counts as refused; for a new token without that, call authenticate(). Never waits. If
        tokens are refused soon after their issue, calls that need one raise RejectedError, retryable, for a
        while: see clopos_auth_invalidate() in clopos_auth.h.
        """
        value = _text(refused.value if isinstance(refused, Token) else refused)
        del refused  # tracebacks may show local variables
        self._check(_native.library().clopos_auth_invalidate(self._handle, value))

    def cancel(self) -> None:
        """Makes every waiting call raise CallCancelledError.

        The sign-in continues, and later calls can use its result; the client stays usable. Never
        waits.
        """
        self._check(_native.library().clopos_auth_cancel(self._handle))
        self._callbacks.wake(Status.CANCELLED)

    def close(self) -> None:
        """Ends the client: wipes the library's copies of the token and the credentials.

        Waiting calls raise CallCancelledError immediately, later ones ClosedError. Any thread, also in `log`
        and `on_change`; closing again does nothing. Waits only while one of these runs on another thread;
        afterwards neither is called again. A client that is garbage collected is closed in the background.
        """
        _close(self._handle, self._number)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = "" if self._number in _open else ", closed"
        return f"<clopos_auth.Client for {self.base_url}{closed}>"

    def _is_in_flight(self) -> bool:
        with contextlib.suppress(Error):  # another thread has closed it meanwhile
            return self.state().request_in_flight
        return False

    def _wait(self, name: str, timeout: Optional[float]) -> Token:
        """A call that may wait. Python handles Ctrl-C only while its main thread is not inside C."""
        milliseconds = _native.DEFAULT_TIMEOUT if timeout is None else _milliseconds(timeout)
        if milliseconds == 0 or not _is_main_thread():
            return self._call(name, milliseconds)
        call: concurrent.futures.Future[Token] = concurrent.futures.Future()

        def run() -> None:
            try:
                call.set_result(self._call(name, milliseconds))
            except BaseException as error:
                call.set_exception(error)

        try:
            threading.Thread(target=run, daemon=True).start()
        except RuntimeError:  # no thread can be started
            return self._call(name, milliseconds)
        while not call.done():
            # On Windows nothing interrupts a wait without a timeout.
            concurrent.futures.wait([call], None if os.name == "posix" else 0.1)
        return call.result()

    def _call(self, name: str, milliseconds: int) -> Token:
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
    """A string for C, whose repr() does not show it. None becomes NULL, which the library refuses."""
    if text is None:
        return None
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        encoded = b"\0"
    # A string with a NUL inside would be truncated. A control character is passed instead: the library
    # refuses it, and the message names the argument.
    return ctypes.create_string_buffer(b"\x01" if b"\0" in encoded else encoded)


def _seconds(seconds: float) -> float:
    if math.isnan(seconds):
        raise ValueError("a timeout cannot be NaN")
    return max(seconds, 0)


def _milliseconds(seconds: float) -> int:
    """Milliseconds, rounded up and clamped to the range."""
    return math.ceil(min(_seconds(seconds) * 1000, _native.DEFAULT_TIMEOUT - 1))


def _seconds_of(milliseconds: int) -> Optional[float]:
    return milliseconds / 1000 if milliseconds >= 0 else None


def _count(number: int) -> int:
    """A uint32_t. ctypes would wrap a number that does not fit: 0 instead, which the library refuses."""
    return number if 0 <= number <= 0xFFFF_FFFF else 0


def _time_of(unix_seconds: int) -> datetime.datetime:
    """The date and time; Python's last second, if the time is later."""
    last = datetime.datetime.max.replace(microsecond=0, tzinfo=datetime.timezone.utc)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return epoch + datetime.timedelta(seconds=min(unix_seconds, (last - epoch).total_seconds()))
