"""The rows of ../behaviours.md for examples/python/clopos_auth."""

import asyncio
import concurrent.futures
import contextlib
import copy
import gc
import http.server
import io
import json
import logging
import os
import pathlib
import pickle
import pprint
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone

EXAMPLE = pathlib.Path(__file__).resolve().parents[3] / "examples" / "python"
sys.path.insert(0, str(EXAMPLE))

import clopos_auth  # noqa: E402
from clopos_auth import (  # noqa: E402
    Client,
    Error,
    LogLevel,
    Reason,
    RequestsAuth,
    Roots,
    StaticSource,
    Status,
    Token,
    TokenSource,
    urlopen,
)

#: The exception class of each status.
CLASSES = {
    Status.INVALID_ARGUMENT: "InvalidArgumentError",
    Status.INVALID_HANDLE: "ClosedError",
    Status.WOULD_WAIT: "WouldWaitError",
    Status.CANCELLED: "CallCancelledError",
    Status.TIMEOUT: "SignInTimeoutError",
    Status.DNS: "NetworkError",
    Status.CONNECT: "NetworkError",
    Status.PROXY: "NetworkError",
    Status.TLS: "CertificateError",
    Status.CLOCK: "CertificateError",
    Status.REJECTED: "RejectedError",
    Status.RATE_LIMITED: "RateLimitedError",
    Status.SERVER: "ServiceError",
    Status.PROTOCOL: "ServiceError",
}
BY_REQUESTS = sys.argv[1].endswith("_in_requests")
if BY_REQUESTS:
    import requests
SECRET = os.environ["CLOPOS_CLIENT_SECRET"]


class Log:
    """A log function that counts and checks its lines."""

    def __init__(self):
        self.lines = 0
        self.forbidden = [SECRET]
        self.failure = None
        self.on_line = lambda: None

    def __call__(self, level, line):
        print(f"log {level}: {line}", file=sys.stderr)
        self.lines += 1
        if not line or level not in list(LogLevel) or any(word in line for word in self.forbidden):
            self.failure = line
        self.on_line()


def settings_from_environment(log):
    settings = {"log": log, "log_level": LogLevel.DEBUG, "base_url": os.environ["CLOPOS_BASE_URL"]}
    if os.environ.get("CLOPOS_CA_FILE"):
        settings["ca_pem"] = pathlib.Path(os.environ["CLOPOS_CA_FILE"]).read_text("ascii")
        settings["roots"] = Roots.NONE
    if "CLOPOS_PROXY" in os.environ:
        settings["proxy"] = os.environ["CLOPOS_PROXY"]
    if "CLOPOS_TIMEOUT_MS" in os.environ:
        settings["timeout"] = int(os.environ["CLOPOS_TIMEOUT_MS"]) / 1000
    if "CLOPOS_MAX_ATTEMPTS" in os.environ:
        settings["max_attempts"] = int(os.environ["CLOPOS_MAX_ATTEMPTS"])
    if "CLOPOS_AUTH_PATH" in os.environ:
        settings["auth_path"] = os.environ["CLOPOS_AUTH_PATH"]
    return settings


def client_from_environment(log=None, **more):
    names = ["CLIENT_ID", "CLIENT_SECRET", "BRAND", "INTEGRATOR_ID"]
    who = [os.environ["CLOPOS_" + name] for name in names]
    return Client(*who, **{**settings_from_environment(log or Log()), **more})


def expect(status, call, *arguments, named="", **more):
    """The call raises an Error with this status that names this. Returns the Error."""
    try:
        call(*arguments, **more)
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        assert error.status is status, error
        assert error.message and named in error.message, error
        assert str(error) == f"{status.name}: {error.message}"
        assert type(error) is getattr(clopos_auth, CLASSES[status]) and isinstance(error, Error)
        assert isinstance(error, TimeoutError) is (status is Status.TIMEOUT)
        for copied in copy.copy(error), pickle.loads(pickle.dumps(error)):
            assert vars(copied) == vars(error)
        return error
    raise AssertionError("no error")


def signs_in():
    with client_from_environment() as clopos:
        first, second = clopos.get_token(), clopos.get_token()
        assert first.value.count(".") == 2
        assert first.token_type == "Bearer"
        assert timedelta(seconds=3500) <= first.expires_in <= timedelta(seconds=3600)
        in_an_hour = datetime.now(timezone.utc) + timedelta(hours=1)
        assert abs(first.expires_at - in_an_hour) < timedelta(minutes=1)
        assert second.value == first.value
        assert first.value not in repr(first) + str(first)
        third = clopos.authenticate()
        assert third.value != first.value
        assert clopos.get_token().value == third.value


def shows_no_secret():
    proxy = "http://user:proxy-password@127.0.0.1:1"
    with client_from_environment() as clopos:
        token = clopos.get_token()
        for shown in token, clopos, [token], {"token": token}, copy.copy(token), copy.deepcopy(token):
            print(shown, repr(shown), f"{shown}", "%s %r" % ((shown,) * 2), pprint.pformat(shown))
            logging.warning("%s %r", shown, shown)
            print(json.dumps(shown, default=str), json.dumps(shown, default=vars_of))
        print(vars(token), vars(clopos), token.__reduce_ex__(4), token.__dir__())
        for refused in token, [token], {"token": token}:
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                try:
                    print(pickle.dumps(refused, protocol))
                    raise AssertionError("it was pickled")
                except TypeError:
                    pass
        print(vars_of(client_from_environment(proxy=proxy)))
        assert copy.deepcopy(token).value == token.value
    # A traceback with local variables, of every frame of the module.
    for settings in {}, {"base_url": "nowhere"}, {"max_attempts": 0}, {"proxy": proxy + "/path"}:
        try:
            with client_from_environment(**{"proxy": proxy, **settings}) as clopos:
                clopos.close()
                clopos.invalidate(token.value)
        except Error as error:
            for frame in walk(error):
                print(frame.f_code.co_name, {**frame.f_locals})


def vars_of(shown):
    return {name: str(value) for name, value in vars(shown).items()}


def walk(error):
    """Returns the frames of the package in the error's traceback."""
    traceback = error.__traceback__
    frames = []
    while traceback is not None:
        if traceback.tb_frame.f_globals["__name__"].startswith("clopos_auth."):
            frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    assert frames
    return frames


def all_settings():
    with client_from_environment(
        auth_path="/open-api/v2/auth",
        attempt_timeout=5,
        requests_per_minute=20,
        user_agent="Till/4.2",
        proxy="none",
        allow_plain_http=False,
        on_change=lambda status: None,
    ) as clopos:
        assert clopos.get_token().value


def log_lines():
    log = Log()
    with client_from_environment(log) as clopos:
        token = clopos.get_token()
        log.forbidden.append(token.value)
        clopos.invalidate(token)
    lines = log.lines
    assert lines >= 2
    expect(Status.INVALID_HANDLE, clopos.invalidate)
    time.sleep(0.2)
    assert (log.lines, log.failure) == (lines, None)


def warns_of_too_much_copied():
    log = Log()
    client_from_environment(log).close()
    assert (log.lines, log.failure) == (1, None)


def fails_as_expected():
    def expected(name):
        return os.environ["EXPECT_" + name]

    with client_from_environment() as clopos:
        error = expect(Status[expected("STATUS")], clopos.get_token)
        assert (error.http_status or 0) == int(expected("HTTP_STATUS")), error.http_status
        assert error.retryable is (expected("RETRYABLE") == "1")
        if expected("RETRY_AFTER") == "unknown":
            assert error.retry_after is None
        else:
            least, most = map(int, expected("RETRY_AFTER").split("-"))
            assert least <= error.retry_after <= most, error.retry_after
        assert error.reason is Reason[expected("REASON")], error.reason
        assert (error.server_code or "") == expected("SERVER_CODE")
        assert SECRET not in repr(error)


def refused(named, **wrong):
    arguments = {
        "client_id": "a",
        "client_secret": "b",
        "brand": "c",
        "integrator_id": "d",
        **wrong,
    }
    expect(Status.INVALID_ARGUMENT, Client, named=named, **arguments)


def invalid_argument():
    for brand in "", "two\nlines", None, "\ud800":
        refused("brand", brand=brand)
    refused("base_url", base_url="not a url")
    refused("max_attempts", max_attempts=-1)
    refused("max_attempts", max_attempts=2**32 + 1)
    refused("timeout", timeout=-1)


def nul_inside():
    refused("brand", brand="sand\0box")
    refused("base_url", base_url="https://localhost\0.example")


def would_wait():
    with client_from_environment() as clopos:
        start = time.monotonic()
        assert expect(Status.WOULD_WAIT, clopos.get_token, timeout=0).retryable
        assert time.monotonic() - start < 1
        token = clopos.get_token()
        assert clopos.get_token(timeout=0).value == token.value


def deadline():
    with client_from_environment() as clopos:
        start = time.monotonic()
        expect(Status.TIMEOUT, clopos.get_token, timeout=0.3)
        assert 0.3 <= time.monotonic() - start < 2
        assert clopos.get_token().value


def cancelled():
    with client_from_environment() as clopos, concurrent.futures.ThreadPoolExecutor() as pool:
        start = time.monotonic()
        call = pool.submit(clopos.get_token)
        while not call.done():
            clopos.cancel()
            time.sleep(0.01)
            assert time.monotonic() - start < 2
        expect(Status.CANCELLED, call.result)
        assert clopos.get_token().value


def cancelled_by_the_language():
    async def both():
        start = time.monotonic()
        call, other = (asyncio.ensure_future(clopos.get_token_async()) for _ in range(2))
        await asyncio.sleep(0.2)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled() and time.monotonic() - start < 2
        return await other

    with client_from_environment() as clopos:
        assert asyncio.run(both(), debug=False).value == clopos.get_token(timeout=0).value


def interrupted():
    # It is ignored in what a shell starts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    changes = Changes()
    with client_from_environment(on_change=changes) as clopos:
        for call in clopos.get_token, clopos.authenticate:
            start = time.monotonic()
            threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
            try:
                call()
                raise AssertionError("not interrupted")
            except KeyboardInterrupt:
                assert 0.3 <= time.monotonic() - start < 1.3
        assert clopos.get_token().value
        changes.wait_for(1)
        with contextlib.closing(Interrupted()) as loop:
            assert loop.run_until_complete(clopos.get_token_async()).value
        loop.handler = clopos.cancel
        assert asyncio.run(clopos.get_token_async()).value
        loop.handler = None


class Interrupted(asyncio.SelectorEventLoop):
    """Calls a signal handler inside is_closed()."""

    handler = None

    def is_closed(self):
        if self.handler is not None:
            self.handler()
        return super().is_closed()


def system_threads():
    return len(os.listdir("/proc/self/task"))


def waits_without_a_thread():
    async def all_of_them():
        before = system_threads()
        calls = [asyncio.ensure_future(clopos.get_token_async()) for _ in range(5000)]
        await asyncio.sleep(0.1)  # each of them has called the library
        assert not any(call.done() for call in calls)
        assert system_threads() <= before + 8, (before, system_threads())
        return {token.value for token in await asyncio.gather(*calls)}

    with client_from_environment() as clopos:
        assert len(asyncio.run(all_of_them(), debug=False)) == 1


async def expect_async(status, call):
    try:
        await call
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        assert error.status is status, error
        return
    raise AssertionError("no error")


def waits_in_an_event_loop():
    async def all_of_it(clopos):
        await expect_async(Status.WOULD_WAIT, clopos.get_token_async(0))
        await expect_async(Status.TIMEOUT, clopos.get_token_async(0.3))
        await expect_async(Status.SERVER, clopos.get_token_async())
        assert (await clopos.get_token_async()).value == clopos.get_token(0).value
        for end in Client.cancel, Client.close:
            other = client_from_environment()
            start = time.monotonic()
            call = asyncio.ensure_future(other.get_token_async())
            await asyncio.sleep(0.1)
            end(other)
            await expect_async(Status.CANCELLED, call)
            assert time.monotonic() - start < 2
            other.close()
            await expect_async(Status.INVALID_HANDLE, other.get_token_async())

    with client_from_environment() as clopos:
        asyncio.run(all_of_it(clopos))


def cancelled_as_it_is_woken_in_an_event_loop():
    announced = threading.Event()

    async def end_when_announced(clopos, end):
        announced.clear()
        call = asyncio.ensure_future(clopos.get_token_async())
        await asyncio.sleep(0)  # it has called the library
        # The loop does not run the task before the next await.
        assert announced.wait(20)
        end()
        await expect_async(Status.CANCELLED, call)

    def on_change(_status):
        announced.set()

    with client_from_environment(on_change=on_change) as clopos:
        asyncio.run(end_when_announced(clopos, clopos.cancel))
        assert clopos.get_token().value
    clopos = client_from_environment(on_change=on_change)
    asyncio.run(end_when_announced(clopos, clopos.close))
    clopos = client_from_environment(on_change=lambda _status: (clopos.close(), announced.set()))
    asyncio.run(end_when_announced(clopos, lambda: None))


def fails_at_once_in_an_event_loop():
    async def twice(clopos):
        start = time.monotonic()
        for _ in range(2):
            await expect_async(Status.PROTOCOL, clopos.get_token_async())
        assert time.monotonic() - start < 2

    with client_from_environment() as clopos:
        asyncio.run(twice(clopos))


def closed_while_in_use():
    log = Log()
    clopos = client_from_environment(log)
    started = threading.Semaphore(0)

    def call():
        started.release()
        return clopos.get_token()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(call) for _ in range(8)]
        for _ in calls:
            started.acquire()
        while log.lines == 0:
            time.sleep(0.001)
        start = time.monotonic()
        clopos.close()
        statuses = [call.exception().status for call in calls]
    assert time.monotonic() - start < 2
    assert set(statuses) <= {Status.CANCELLED, Status.INVALID_HANDLE}
    assert Status.CANCELLED in statuses


def used_after_close():
    clopos = client_from_environment()
    token = clopos.get_token()
    clopos.close()
    expect(Status.INVALID_HANDLE, clopos.get_token)
    expect(Status.INVALID_HANDLE, clopos.authenticate)
    expect(Status.INVALID_HANDLE, clopos.invalidate, token)
    expect(Status.INVALID_HANDLE, clopos.cancel)
    clopos.close()
    assert token.value


def closed_by_its_log_function():
    log = Log()
    clopos = client_from_environment(log)
    log.on_line = clopos.close
    start = time.monotonic()
    expect(Status.CANCELLED, clopos.get_token)
    assert time.monotonic() - start < 2
    time.sleep(0.2)
    assert log.lines == 1


def a_second_close_waits():
    log = Log()
    entered, waiting, woken = threading.Event(), threading.Event(), threading.Event()
    closing = threading.Semaphore(0)
    finished = []

    def stay():
        if not entered.is_set():
            entered.set()
            closing.acquire()
            closing.acquire()
            time.sleep(0.5)
            finished.append(woken.wait(20))

    log.on_line = stay
    clopos = client_from_environment(log)
    expect(Status.WOULD_WAIT, clopos.get_token, timeout=0)
    assert entered.wait(20)

    async def wait():
        call = asyncio.ensure_future(clopos.get_token_async())
        await asyncio.sleep(0.1)  # it has called the library
        waiting.set()
        await expect_async(Status.CANCELLED, call)
        woken.set()

    def close(delay):
        assert waiting.wait(20)
        time.sleep(delay)
        closing.release()
        clopos.close()
        return finished == [True]

    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiter = pool.submit(asyncio.run, wait())
        assert list(pool.map(close, [0, 0.1])) == [True, True]
        waiter.result()


def collected_in_a_log_function():
    lock, entered, log = threading.Lock(), threading.Event(), Log()

    def wait(_level, _line):
        entered.set()
        with lock:
            pass

    def collect():
        unused.clear()
        gc.collect()

    with client_from_environment(log) as other:
        other.get_token()
        unused = [client_from_environment(wait)]
        with lock:
            expect(Status.WOULD_WAIT, unused[0].get_token, timeout=0)
            assert entered.wait(20)
            log.on_line = collect
            other.invalidate()
            assert not unused
            log.on_line = lambda: None


def ends_while_clients_are_collected():
    for _ in range(20):
        client_from_environment()


def forked_while_another_thread_uses_the_client():
    held, forked = threading.Event(), threading.Event()

    def hold(lock):
        with lock, clopos_auth._native._loading:
            held.set()
            forked.wait(20)

    with client_from_environment() as clopos:
        threading.Thread(target=hold, args=[clopos._callbacks._lock]).start()
        assert held.wait(20)
        child = os.fork()
        if child == 0:
            clopos_auth._native._loaded = None  # as if the thread was loading it
            assert clopos_auth.version()
            clopos.cancel()
            assert asyncio.run(clopos.get_token_async()).value
            clopos.close()
            os._exit(0)
        forked.set()
        deadline = time.monotonic() + 20
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            time.sleep(0.01)
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
        assert ended == (child, 0), ended


def ends_without_close():
    clopos = client_from_environment()
    sys.unclosed = clopos  # alive until the interpreter shuts down
    expect(Status.WOULD_WAIT, clopos.get_token, timeout=0)


class Changes:
    """A change function that keeps its arguments."""

    def __init__(self):
        self.statuses = []
        self.then = lambda: None

    def __call__(self, status):
        self.statuses.append(status)
        self.then()

    def wait_for(self, number):
        deadline = time.monotonic() + 20
        while len(self.statuses) < number:
            time.sleep(0.001)
            assert time.monotonic() < deadline, self.statuses


def announces_a_token():
    changes = Changes()
    tokens = []
    with client_from_environment(on_change=changes) as clopos:
        changes.then = lambda: tokens.append(clopos.get_token(timeout=0))
        first = clopos.get_token()
        changes.wait_for(1)
        second = clopos.authenticate()
        changes.wait_for(2)
        while len(tokens) < 2:
            time.sleep(0.001)
        assert [token.value for token in tokens] == [first.value, second.value]
        assert clopos.current() == second.serial == tokens[1].serial != first.serial
    time.sleep(0.2)
    assert changes.statuses == [Status.OK, Status.OK]


def announces_a_failure():
    changes = Changes()
    with client_from_environment(on_change=changes) as clopos:
        message = expect(Status.SERVER, clopos.get_token).message
        changes.wait_for(1)
        state = clopos.state()
        assert (state.last_status, state.last_http_status) == (Status.SERVER, 503)
        assert (state.requests, state.failures, state.last_message) == (1, 1, message)
        assert clopos.current() == 0 and state.next_request_in > 0
        time.sleep(0.2)
    assert changes.statuses == [Status.SERVER]


def change_function_that_fails():
    seen = []
    sys.unraisablehook = lambda unraisable: seen.append(unraisable.exc_type)
    changes = Changes()
    errors = iter([ValueError, SystemExit])

    def fail():
        raise next(errors)

    changes.then = fail
    with client_from_environment(on_change=changes) as clopos:
        first = clopos.get_token()
        changes.wait_for(1)
        assert clopos.authenticate().value != first.value
        changes.wait_for(2)
    assert seen == [ValueError, SystemExit]


def change_function_that_closes():
    changes = Changes()
    clopos = client_from_environment(on_change=changes)
    changes.then = clopos.close
    start = time.monotonic()
    try:
        assert clopos.get_token().value
    except Error as error:
        assert error.status is Status.CANCELLED
    assert time.monotonic() - start < 2
    changes.wait_for(1)
    while "closed" not in repr(clopos):
        time.sleep(0.001)
    expect(Status.INVALID_HANDLE, clopos.get_token)
    assert changes.statuses == [Status.OK]


def change_function_that_is_slow():
    changes = Changes()
    finished = threading.Event()

    def stay():
        time.sleep(4)
        finished.set()

    changes.then = stay
    with client_from_environment(on_change=changes) as clopos:
        start = time.monotonic()
        assert clopos.get_token().value == clopos.get_token(timeout=0).value
        assert time.monotonic() - start < 2
        changes.wait_for(1)
        assert not finished.is_set()
        clopos.close()
        assert finished.is_set()


def state():
    with client_from_environment() as clopos:
        state = clopos.state()
        assert not (state.has_token or state.is_fresh or state.request_in_flight)
        assert (state.requests, state.failures, state.expires_in, state.last_result_age) == (0, 0, None, None)
        assert (state.next_request_in, state.last_message) == (0, None)
        expect(Status.WOULD_WAIT, clopos.get_token, timeout=0)
        assert clopos.state().request_in_flight
        clopos.get_token()
        state = clopos.state()
        assert state.has_token and state.is_fresh and not state.request_in_flight
        assert 3500 <= state.expires_in <= 3600 and 0 < state.refresh_in < state.expires_in
        assert (state.last_status, state.last_http_status) == (Status.OK, 200)
        assert 0 <= state.last_result_age < 10
        assert (state.requests, state.failures, state.last_message) == (2, 1, None)
        print(state, file=sys.stderr)
    expect(Status.INVALID_HANDLE, clopos.state)


def nothing_printed():
    names = ["CLIENT_ID", "CLIENT_SECRET", "BRAND", "INTEGRATOR_ID"]
    settings = {**settings_from_environment(None), "on_change": lambda status: None}
    with Client(*(os.environ["CLOPOS_" + name] for name in names), **settings) as clopos:
        for call, wrong in (
            (clopos.get_token, {}),
            (Client, dict.fromkeys(["client_id", "client_secret"], "a")),
        ):
            try:
                call(**wrong, **({"brand": "", "integrator_id": "b"} if wrong else {}))
                raise AssertionError("no error")
            except Error:
                pass
        token = clopos.get_token()
        time.sleep(3.2)
        clopos.invalidate(token)
        clopos.get_token()
    try:
        clopos.get_token()
        raise AssertionError("no error")
    except Error:
        pass


def pay(tokens: TokenSource) -> str:
    """A program's code."""
    try:
        return "paid with " + tokens.get_token().token_type
    except clopos_auth.RejectedError as error:
        return "ask the " + error.reason.name


def fake():
    assert pay(StaticSource(Token("not-a-secret"))) == "paid with Bearer"
    refusal = Error(Status.REJECTED, "refused", http_status=401, reason=Reason.CREDENTIALS)
    source = StaticSource(refusal)
    assert pay(source) == "ask the CREDENTIALS"
    source.invalidate(Token("refused"))
    assert source.refused == ["refused"]
    assert asyncio.run(StaticSource(Token("a")).get_token_async()).value == "a"
    assert "not-a-secret" not in repr(StaticSource(Token("not-a-secret")))
    assert "clopos_auth.so" not in pathlib.Path("/proc/self/maps").read_text("utf-8")


def library_missing():
    for place, why in ("/nowhere/libclopos_auth.so", "no such file"), (os.__file__, "invalid ELF header"):
        os.environ["CLOPOS_AUTH_LIBRARY"] = place
        for call in clopos_auth.version, lambda: Client("a", "b", "c", "d"):
            try:
                call()
                raise AssertionError("no error")
            except ImportError as error:
                assert place in str(error) and why in str(error), error
    # Without CLOPOS_AUTH_LIBRARY the error names every place. In a process that does not find the library.
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "."}
    program = "import clopos_auth; clopos_auth._native.__file__ = {!r}; clopos_auth.version()"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(EXAMPLE / "clopos_auth", folder + "/a/b/clopos_auth")
        for package, places in (
            (f"{folder}/a/b/clopos_auth", [f"{folder}/{place}" for place in ("a/b", "target/release")]),
            ("/no-such-app/clopos_auth", ["/no-such-app", "/target/release"]),
        ):
            said = subprocess.run(
                [sys.executable, "-c", program.format(package + "/_native.py")],
                cwd=folder + "/a/b",
                env=environment,
                capture_output=True,
                text=True,
            ).stderr
            for place in package, *places:
                assert f"{place}/libclopos_auth.so: no such file" in said, said
            assert "\n  libclopos_auth.so.1: " in said, said


def expired_and_refreshed():
    with client_from_environment() as clopos:
        deadline = time.monotonic() + 20
        values = set()
        while len(values) < 3:
            token = clopos.get_token()
            assert token.expires_in >= timedelta(0)
            values.add(token.value)
            time.sleep(0.01)
            assert time.monotonic() < deadline


def recovers_from_a_401():
    with client_from_environment() as clopos:
        token = clopos.get_token()
        time.sleep(3.2)
        # Another thread's invalidate() comes just after get_token() has seen that there is a token.
        clopos.current = lambda: token.serial
        clopos.invalidate(token)
        following = clopos.get_token()
        del clopos.current
        assert following.value != token.value
        clopos.invalidate(token.value)
        assert clopos.get_token().value == following.value


def get(clopos, url=None, data=None, headers=None):
    """Gets a URL with urlopen() or RequestsAuth (which sends `data`). Returns the HTTP status and the body."""
    if BY_REQUESTS:
        url = url or clopos.base_url + "/open-api/v2/venues"
        more = {"auth": RequestsAuth(clopos, venue="7"), "verify": os.environ["CLOPOS_CA_FILE"]}
        with requests.get(url, data=data, headers=headers, timeout=20, **more) as response:
            return response.status_code, response.content
    context = ssl.create_default_context(cafile=os.environ["CLOPOS_CA_FILE"])
    url = url or clopos.base_url + "/open-api/v2/venues"
    if headers is not None:
        url = urllib.request.Request(url, headers=headers)
    try:
        with urlopen(clopos, url, venue="7", timeout=20, context=context) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def helper_gets_another_token():
    with client_from_environment() as clopos:
        token = clopos.get_token()
        time.sleep(3.2)
        status, body = get(clopos)
        assert status == 200 and b"Sandbox" in body, (status, body)
        assert clopos.get_token().value != token.value


def helper_hands_a_refusal_back():
    with client_from_environment() as clopos:
        # What is read from a file is not sent again, but the token is refused as well.
        status, body = get(clopos, data=io.BytesIO(b"{}"))
        assert status == 401 and b"Invalid token" in body, (status, body)
        start = time.monotonic()
        asyncio.run(expect_async(Status.REJECTED, clopos.get_token_async()))
        assert time.monotonic() - start < 2


def helper_keeps_a_good_token():
    with client_from_environment() as clopos:
        token = clopos.get_token()
        for expected in b"Headers are missing", b"Invalid integrator_id":
            status, body = get(clopos)
            assert status == 401 and expected in body, (status, body)
        assert clopos.get_token().value == token.value
        assert get(clopos)[0] == 200


def helper_keeps_the_token_from_others():
    elsewhere = os.environ["CLOPOS_ELSEWHERE_URL"]
    with client_from_environment() as clopos:
        token = clopos.get_token()
        static = StaticSource(token, clopos.base_url)  # has a token even after invalidate()
        for tokens, url in (static, None), (clopos, None), (clopos, elsewhere):
            status, body = get(tokens, url)
            assert status == 401 and b"Invalid token" in body, (status, body)
        assert static.refused == [] and clopos.get_token().value == token.value
        assert b"Sandbox" in get(clopos)[1]
        if BY_REQUESTS:
            return
        # urllib changes a Request that it sends through a proxy twice; the helper does not.
        request = urllib.request.Request(clopos.base_url + "/open-api/v2/venues", headers={"Accept": "*/*"})
        request.add_unredirected_header("X-till", "4")
        for _ in range(2):
            request.set_proxy(urllib.parse.urlsplit(elsewhere).netloc, "http")
        before = copy.deepcopy(vars(request))
        assert b"Sandbox" in get(clopos, request)[1]
        assert vars(request) == before


class Page(http.server.BaseHTTPRequestHandler):
    """Keeps the headers that it receives. /to/URL redirects to URL, /refuse refuses a token."""

    def do_GET(self):
        self.server.seen.append({name.lower(): value for name, value in self.headers.items()})
        body = b"Invalid token" if self.path == "/refuse" else b""
        self.send_response(302 if self.path.startswith("/to/") else 401 if body else 200)
        if self.path.startswith("/to/"):
            self.send_header("Location", self.path[len("/to/") :])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


@contextlib.contextmanager
def serve():
    """Starts a server. Gives its URL and the list of the headers that it receives."""
    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        server.seen = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", server.seen
        server.shutdown()


def helper_keeps_a_token_that_was_not_sent():
    with serve() as (service, seen), serve() as (elsewhere, seen_elsewhere):
        source = StaticSource(Token("t"), service)
        status, body = get(source, f"{service}/to/{elsewhere}/to/{service}/refuse")
        assert (status, body) == (401, b"Invalid token"), (status, body)
        assert [headers.get("x-token") for headers in seen + seen_elsewhere] == ["t", None, None]
        assert source.refused == [], source.refused
        # A redirect within the service bears the token with requests, but not with urllib.
        assert get(source, f"{service}/to/{service}/refuse")[0] == 401
        assert source.refused == (["t"] if BY_REQUESTS else []), source.refused


def helper_sends_the_venue():
    with serve() as (service, seen):
        source = StaticSource(Token("t"), service)
        assert get(source, service + "/any")[0] == 200
        # What is refused is sent twice.
        for path, status in ("/any", 200), ("/refuse", 401):
            assert get(source, service + path, headers={"x-venue": "8"})[0] == status
        if not BY_REQUESTS:
            request = urllib.request.Request(service + "/any")
            request.add_unredirected_header("x-venue", "8")
            get(source, request)
    assert {headers["x-token"] for headers in seen} == {"t"}
    assert [headers["x-venue"] for headers in seen] == ["7"] + ["8"] * (3 if BY_REQUESTS else 4), seen


def sixty_four_threads():
    with client_from_environment() as clopos:
        gate = threading.Barrier(64)

        def call():
            gate.wait()
            return {clopos.get_token().value for _ in range(1000)}

        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            calls = [pool.submit(call) for _ in range(64)]
            assert len(set.union(*(call.result() for call in calls))) == 1


def resident_bytes():
    gc.collect()
    pages = int(pathlib.Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


def no_leak():
    with client_from_environment() as clopos:
        for cycle in range(12000):
            if cycle == 2000:
                before = resident_bytes()
            for _ in range(10):
                assert clopos.get_token().value
                try:
                    Client("a", "b", "", "d")
                    raise AssertionError("no error")
                except Error as error:
                    assert error.status == Status.INVALID_ARGUMENT
            Client("a", "b", "c", "d", log=lambda level, line: None, user_agent="Till/4.2").close()
        grown = resident_bytes() - before
        print(f"grown by {grown // 1024} KiB", file=sys.stderr)
        assert grown < 4 << 20


def main():
    name = sys.argv[1]
    if "EXPECT_STATUS" in os.environ:
        fails_as_expected()
    else:
        name = {"non_ascii_brand": "signs_in"}.get(name, name)
        globals()[name.replace("_in_requests", "")]()
    print("ok", flush=True)


if __name__ == "__main__":
    main()
