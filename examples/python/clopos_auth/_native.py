"""The shared library and its functions. It is loaded when it is first needed."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import pathlib
import sys
import threading
from ctypes import POINTER, byref, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Dict, Iterator, List, NoReturn, Optional

from ._kinds import Error, Reason, Status, known

DEFAULT_TIMEOUT = 0xFFFF_FFFF


class CToken(ctypes.Structure):
    """clopos_auth_token."""

    _fields_ = [
        ("value", c_char_p),
        ("value_len", c_size_t),
        ("token_type", c_char_p),
        ("expires_at", c_int64),
        ("expires_in", c_int64),
        ("serial", c_uint64),
    ]


class CError(ctypes.Structure):
    """clopos_auth_error."""

    _fields_ = [
        ("status", c_int32),
        ("http_status", c_int32),
        ("retryable", c_int32),
        ("retry_after_ms", c_int64),
        ("server_code", c_char_p),
        ("message", c_char_p),
        ("reason", c_int32),
    ]


class CState(ctypes.Structure):
    """clopos_auth_state."""

    _fields_ = [
        ("has_token", c_int32),
        ("is_fresh", c_int32),
        ("request_in_flight", c_int32),
        ("expires_in_ms", c_int64),
        ("refresh_in_ms", c_int64),
        ("next_request_in_ms", c_int64),
        ("last_status", c_int32),
        ("last_http_status", c_int32),
        ("last_result_age_ms", c_int64),
        ("requests", c_uint64),
        ("failures", c_uint64),
        ("last_message", c_char_p),
    ]


LOG_FUNCTION = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)
CHANGE_FUNCTION = ctypes.CFUNCTYPE(None, c_int32, c_void_p)
_ERROR_OUT = POINTER(POINTER(CError))
_TOKEN_OUT = POINTER(POINTER(CToken))
_STATE_OUT = POINTER(POINTER(CState))

_loading = threading.Lock()
_loaded: Optional[ctypes.CDLL] = None


def library() -> ctypes.CDLL:
    """Returns the library, or raises an ImportError that says where it was looked for."""
    global _loaded
    if _loaded is None:
        with _loading:
            if _loaded is None:
                _loaded = _load()
    return _loaded


def after_fork() -> None:
    """In a forked child: the thread that was loading the library does not exist there."""
    global _loading
    _loading = threading.Lock()


def _places() -> Iterator[str]:
    """The paths, and names for the system's loader, in the order in which they are tried."""
    chosen = os.environ.get("CLOPOS_AUTH_LIBRARY")
    if chosen:
        yield chosen
        return
    names = {"win32": ["clopos_auth.dll"], "darwin": ["libclopos_auth.dylib"]}
    here = pathlib.Path(__file__).resolve().parent
    folders = [here, here.parent, here.parent.parent.parent / "target" / "release"]
    for name in names.get(sys.platform, ["libclopos_auth.so", "libclopos_auth.so.1"]):
        yield from (str(folder / name) for folder in folders)
    found = ctypes.util.find_library("clopos_auth")
    if found:
        yield found
    yield names.get(sys.platform, ["libclopos_auth.so.1"])[0]


def _load() -> ctypes.CDLL:
    tried: List[str] = []
    for place in _places():
        if os.path.dirname(place) and not os.path.exists(place):
            tried.append(f"{place}: no such file")
            continue
        try:
            # CDLL, not PyDLL: a call releases the GIL.
            candidate = ctypes.CDLL(place)
            candidate.clopos_auth_version_number.restype = c_uint32
            version = candidate.clopos_auth_version_number()
            if version >> 16 != 1 or version < 0x010100:
                number = f"{version >> 16}.{version >> 8 & 0xFF}.{version & 0xFF}"
                raise OSError(f"it is version {number}, and this package needs 1.1 or a later 1.x")
            _declare(candidate)
            return candidate
        except (OSError, AttributeError) as error:
            tried.append(f"{place}: {error}")
    raise ImportError(
        "clopos_auth: the library libclopos_auth was not found or not usable. Set CLOPOS_AUTH_LIBRARY to its "
        "path. Tried:\n  " + "\n  ".join(tried),
        name="libclopos_auth",
    )


def _declare(candidate: ctypes.CDLL) -> None:
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
        "config_set_log": [c_int32, LOG_FUNCTION, c_void_p],
        "config_set_on_change": [CHANGE_FUNCTION, c_void_p],
        "get_token": [c_uint32, _TOKEN_OUT],
        "authenticate": [c_uint32, _TOKEN_OUT],
        "get_state": [_STATE_OUT],
    }
    functions = {name: [c_void_p, *types, _ERROR_OUT] for name, types in functions.items()}
    functions["client_new"] = [c_char_p] * 4 + [c_void_p, POINTER(c_void_p), _ERROR_OUT]
    functions["invalidate"] = [c_void_p, c_char_p]
    functions["cancel"] = [c_void_p]
    for name, types in functions.items():
        function = getattr(candidate, "clopos_auth_" + name)
        function.argtypes, function.restype = types, c_int32
    others: Dict[str, Any] = {
        "config_free": (None, [c_void_p]),
        "client_free": (None, [c_void_p]),
        "token_free": (None, [POINTER(CToken)]),
        "error_free": (None, [POINTER(CError)]),
        "state_free": (None, [POINTER(CState)]),
        "config_new": (c_void_p, []),
        "current": (c_uint64, [c_void_p, POINTER(c_int64)]),
        "version": (c_char_p, []),
    }
    for name, (result, types) in others.items():
        function = getattr(candidate, "clopos_auth_" + name)
        function.argtypes, function.restype = types, result


def fail(status: int, error: Any = None) -> NoReturn:
    """Raises the Error for a status, and frees the library's error."""
    if not error:
        raise Error(known(Status, status), "no details available")
    try:
        fields = error.contents
        raised = Error(
            known(Status, status),
            fields.message.decode(),
            fields.http_status or None,
            bool(fields.retryable),
            fields.retry_after_ms / 1000 if fields.retry_after_ms >= 0 else None,
            fields.server_code.decode() if fields.server_code is not None else None,
            known(Reason, fields.reason),
        )
    finally:
        library().clopos_auth_error_free(error)
    raise raised


def call(name: str, *arguments: object) -> None:
    """Calls a function whose last parameter receives an error, and raises that error."""
    error = POINTER(CError)()
    status = getattr(library(), "clopos_auth_" + name)(*arguments, byref(error))
    if status != Status.OK:
        fail(status, error)
