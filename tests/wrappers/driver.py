#!/usr/bin/env python3
"""Runs the rows of behaviours.md for one language.

    driver.py LANGUAGE VARIANT PROGRAM SANDBOX [NAME...]

Each row gets a sandbox of its own and a process of its own. Each result is a line "ok - ..." or "not ok - ...",
which is also appended to the file CLOPOS_TEST_RESULTS.
"""

import concurrent.futures
import contextlib
import http.server
import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
DEADLINE_S = float(os.environ.get("CLOPOS_TEST_DEADLINE_S", "60"))
UNDER = shlex.split(os.environ.get("CLOPOS_TEST_UNDER", ""))
TRANSCRIPT = os.environ.get("CLOPOS_TEST_TRANSCRIPT")
SECRETS = os.environ.get("CLOPOS_TEST_SECRETS")
RESULTS = os.environ.get("CLOPOS_TEST_RESULTS", os.devnull)

CREDENTIALS = {
    "CLOPOS_CLIENT_ID": "sandbox_client",
    "CLOPOS_CLIENT_SECRET": "sandbox_secret",
    "CLOPOS_BRAND": "sandbox",
    "CLOPOS_INTEGRATOR_ID": "test_sandbox",
}
EXPECTED = ["STATUS", "HTTP_STATUS", "RETRYABLE", "RETRY_AFTER", "REASON", "SERVER_CODE"]
JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+")  # {" in base64
# SIGSEGV, in a shell's words and in Python's.
WINE_CRASHED = "exit status 139\n", "exit status -11\n"
# A proxy of this machine cannot reach the sandbox.
NOT_INHERITED = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}


class Failed(Exception):
    """The behaviour does not hold; the message says why."""


def rows():
    """Yields the rows of the table as dictionaries; the keys are the column titles."""
    table = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in (HERE / "behaviours.md").read_text("utf-8").splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]
    head, *body = table
    for cells in body:
        if len(cells) != len(head):
            raise SystemExit(f"behaviours.md: {len(cells)} cells for {len(head)}: {cells[0]}")
        yield dict(zip(head, cells))


@contextlib.contextmanager
def closed_port():
    """A port that refuses connections, and that no other program gets meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # does not listen
        yield taken.getsockname()[1]


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Another host: refuses every request like the service, and keeps the names of the headers."""

    def do_GET(self):
        """Keeps the headers of a request and refuses it."""
        self.server.seen.extend(name.lower() for name in self.headers)
        body = b'{"success":false,"error":"Invalid token"}'
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Prints nothing."""


@contextlib.contextmanager
def elsewhere():
    """Starts such a server. Gives its URL and the names of the headers."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", server.seen
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def sandbox(program, arguments, directory):
    """Starts the sandbox. Gives its URL, its control URL and its CA file."""
    ca_file = directory / "ca.pem"
    command = [program, "--listen", "127.0.0.1:0", "--ca-file", str(ca_file), *arguments]
    with open(directory / "sandbox.log", "wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        lines = {}
        while not {"listening", "control"} <= lines.keys():
            line = process.stdout.readline()
            if not line:
                raise Failed("no sandbox: " + (directory / "sandbox.log").read_text("utf-8"))
            name, _, url = line.strip().partition(" on ")
            lines[name] = url
        yield lines["listening"], lines["control"], ca_file
    finally:
        process.terminate()
        process.communicate()


def environment(row, base_url, control_url, ca_file, port):
    """Returns the program's environment."""
    env = {name: value for name, value in os.environ.items() if name.lower() not in NOT_INHERITED}
    for name in [name for name in env if name.startswith(("CLOPOS_", "EXPECT_"))]:
        del env[name]
    env |= CREDENTIALS
    # A large quarantine of freed memory would look like a leak.
    env.setdefault("ASAN_OPTIONS", "quarantine_size_mb=1:detect_leaks=1")
    env |= {"CLOPOS_BASE_URL": base_url, "CLOPOS_CONTROL_URL": control_url}
    env |= {"CLOPOS_CA_FILE": str(ca_file)}
    for change in row["environment"].replace("{closed}", str(port)).split():
        name, _, value = change.partition("=")
        env[name] = value
    if row["error"]:
        fields = row["error"].split(None, len(EXPECTED) - 1)
        fields += [""] * (len(EXPECTED) - len(fields))
        env |= {f"EXPECT_{name}": value for name, value in zip(EXPECTED, fields)}
    return env


def copies(pid, secret):
    """Counts the secret in the writable memory of a process, as UTF-8 and UTF-16."""
    kept = secret[16:]  # malloc() overwrites the first bytes of freed memory
    forms = [kept.encode("utf-8"), kept.encode("utf-16-le")]
    count = 0
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            start, end = (int(number, 16) for number in line.split()[0].split("-"))
            if line.split()[1].startswith("rw") and end - start < 1 << 28:  # not a sanitizer's shadow memory
                memory.seek(start)
                try:
                    content = memory.read(end - start)
                except OSError:
                    continue
                count += sum(content.count(form) for form in forms)
    return count


def execute(command, env):
    """Runs a program. Counts its copies of the secret at each line "pause": the number must not grow."""
    counts = []
    with tempfile.TemporaryFile() as log, subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
    ) as process:
        deadline = threading.Timer(DEADLINE_S, process.kill)
        deadline.start()
        output = b""
        for line in process.stdout:
            output += line
            if line.rstrip() == b"pause":
                counts.append(copies(process.pid, env["CLOPOS_CLIENT_SECRET"]))
                process.stdin.write(b"\n")
                process.stdin.flush()
        status = process.wait()
        in_time = deadline.is_alive()
        deadline.cancel()
        log.seek(0)
        said = (output + log.read()).decode("utf-8", "replace")
    if not in_time:
        raise Failed(f"not ended after {DEADLINE_S:g} s\n{said}")
    if counts and not 0 < counts[-1] <= counts[0]:
        raise Failed(f"the secret is in memory {counts} times\n{said}")
    return status, output, said


def run(row, language, program, sandbox_program, directory):
    """Runs one row; raises Failed if it does not hold."""
    with closed_port() as port, elsewhere() as (other_url, seen_elsewhere), sandbox(
        sandbox_program, shlex.split(row["sandbox"].replace("{elsewhere}", other_url)), directory
    ) as (base_url, control_url, ca_file):
        env = environment(row, base_url, control_url, ca_file, port)
        env["CLOPOS_ELSEWHERE_URL"] = other_url
        status, output, said = execute([*UNDER, program, row["behaviour"]], env)
        if TRANSCRIPT:
            name = f"wrapper-{language}-{row['behaviour']}.log"
            (pathlib.Path(TRANSCRIPT) / name).write_text(said, "utf-8")
        if SECRETS:
            with open(SECRETS, "a", encoding="utf-8") as secrets:
                print(env["CLOPOS_CLIENT_SECRET"], file=secrets)
        if status != 0 or output.decode("utf-8", "replace").split()[-1:] != ["ok"]:
            raise Failed(f"exit status {status}\n{said}")
        if row["behaviour"] == "nothing_printed" and said.split() != ["ok"]:
            raise Failed("it printed something\n" + said)
        for secret in env["CLOPOS_CLIENT_SECRET"], "proxy-password":
            if secret in said:
                raise Failed("it printed the secret: " + said.replace(secret, "<LEAK>")[:4000])
        if JWT.search(said):
            raise Failed("it printed a token")
        if {"x-token", "x-venue"} & set(seen_elsewhere):
            raise Failed("it sent the token or the venue to another host")
        if "{elsewhere}" in row["sandbox"] and not seen_elsewhere:
            raise Failed("it did not send a request to the other host")
        with urllib.request.urlopen(control_url + "/sandbox/stats", timeout=10) as response:
            requests = json.load(response)["auth_requests"]
        if row["requests"] and requests != int(row["requests"]):
            raise Failed(f"{requests} auth requests instead of {row['requests']}\n{said}")


def judge(row, label, program, sandbox_program, tries=3):
    """Runs one row. Returns its result line, and the reason if it does not hold."""
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as directory:
            run(row, label, program, sandbox_program, pathlib.Path(directory))
    except Failed as failed:
        # Wine for i386 itself crashes with any program that ends while one of its threads starts.
        if tries > 1 and label.endswith("-wine32") and str(failed).startswith(WINE_CRASHED):
            return judge(row, label, program, sandbox_program, tries - 1)
        why = "    " + str(failed).rstrip().replace("\n", "\n    ")
        return f"not ok - {label} {row['behaviour']}: {row['what must hold']}", why
    return f"ok - {label} {row['behaviour']} ({time.monotonic() - start:.1f} s)", ""


def main():
    language, variant, program, sandbox_program, *names = sys.argv[1:]
    label = f"{language}-{variant}" if variant else language
    wanted = [
        row
        for row in rows()
        if (not row["for"] or language in row["for"].split())
        and (not names or row["behaviour"] in names)
    ]
    holds = bool(wanted)
    # Four rows at a time: most of them wait for their sandbox.
    with concurrent.futures.ThreadPoolExecutor(4) as pool, open(RESULTS, "a", encoding="utf-8") as results:
        for line, why in pool.map(lambda row: judge(row, label, program, sandbox_program), wanted):
            print(line, why, sep="\n" if why else "", flush=True)
            print(line, file=results)
            holds = holds and line.startswith("ok ")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
