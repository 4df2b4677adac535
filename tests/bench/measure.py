"""Measures, writes the figures to a JSON file, and makes the tables and plots from it. See run.sh."""

import argparse
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "eyJ0b2tlbiI6" * 24 + "." + "7atyo3LEPXTyIjs2BjZIcUbWeFYtr375GeDwoVnWSRs"
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
WAYS = ("library", "libcurl", "rustls")


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done


def numbers(text):
    """Returns the `name number` pairs that a program printed."""
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if " " in line)
    return {name: float(number) for name, number in pairs}


class Server:
    """nginx on the loopback: TLS 1.3, P-256 leaf and intermediate. It has a port for each kind of connection of
    further exchanges: new, resumed and kept."""

    MODES = {"new": "", "resumed": "", "kept": ""}

    def __init__(self, folder):
        self.folder = folder
        self.certificates()
        self.ports = {mode: self.free_port() for mode in self.MODES}
        ipv6 = socket.has_ipv6 and os.path.exists("/proc/net/if_inet6")
        blocks = []
        for mode, port in self.ports.items():
            listen = f"listen 127.0.0.1:{port} ssl backlog=4096;"
            listen += f" listen [::1]:{port} ssl backlog=4096;" if ipv6 else ""
            resumable = "off" if mode == "new" else "on"
            keep = "3600s" if mode == "kept" else "0"
            blocks.append(f"""server {{ {listen}
                ssl_session_tickets {resumable}; keepalive_timeout {keep};
                location = /open-api/v2/auth {{ default_type application/json; return 200 '{self.answer()}'; }} }}""")
        with open(f"{folder}/nginx.conf", "w") as file:
            file.write(f"""daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
                worker_processes 1; worker_rlimit_nofile 19000; events {{ worker_connections 18000; }}
                http {{ log_format how '$server_port $ssl_session_reused $connection_requests $status';
                access_log {folder}/access.log how; ssl_protocols TLSv1.3; ssl_session_cache off;
                client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
                uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 1000000;
                ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/leaf.key;
                {' '.join(blocks)} }}""")
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen([nginx, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf", "-p", folder])
        for _ in range(100):
            if self.process.poll() is None and self.answers():
                return
            time.sleep(0.1)
        sys.exit("nginx did not start:\n" + open(f"{folder}/error.log").read())

    @staticmethod
    def free_port():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.ports["kept"])).close()
            return True
        except OSError:
            return False

    @staticmethod
    def answer():
        return json.dumps({
            "success": True, "token": TOKEN, "token_type": "Bearer", "expires_in": 3600,
            "expires_at": int(time.time()) + 3600, "message": "Authentication successful"}, separators=(",", ":"))

    def certificates(self):
        def openssl(*arguments):
            run(["openssl", *arguments], cwd=self.folder)
        for name in ("ca", "middle", "leaf"):
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=bench CA", "-days", "2", "-out", "ca.pem")
        for name, issuer, extensions in (
                ("middle", "ca", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign"),
                ("leaf", "middle", "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth")):
            with open(f"{self.folder}/{name}.ext", "w") as file:
                file.write(extensions)
            openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN=bench {name}", "-out", f"{name}.csr")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key",
                    "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        for name, parts in (("chain.pem", ("leaf.pem", "middle.pem")), ("bundle.pem", (SYSTEM_BUNDLE, "ca.pem"))):
            with open(f"{self.folder}/{name}", "w") as file:
                file.write("".join(open(os.path.join(self.folder, part)).read() for part in parts))

    def url(self, mode):
        return f"https://localhost:{self.ports[mode]}"

    def seen(self):
        """Returns the requests since the last call: [(resumed, number on its connection)]."""
        time.sleep(0.05)
        path = f"{self.folder}/access.log"
        lines = [line.split() for line in open(path)][getattr(self, "read", 0):]
        self.read = getattr(self, "read", 0) + len(lines)
        return [(reused == "r", int(number)) for _, reused, number, status in lines if status == "200"]


class Bench:
    def __init__(self, arguments, server, work):
        self.quick, self.bin, self.server, self.work = arguments.quick, arguments.bin, server, work
        self.result = {"quick": self.quick, "machine": machine()}

    def command(self, way, mode, exchanges=1, clients=1, roots="none"):
        """Returns (command, environment) of a way; roots: none (one CA), system, bundled."""
        folder = self.server.folder
        ca_file = f"{folder}/{'ca' if roots != 'system' else 'bundle'}.pem"
        environment = dict(os.environ, ROOTS=roots, SSL_CERT_FILE=f"{folder}/bundle.pem")
        for name in ("SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            environment.pop(name, None)
        program = [f"{self.bin}/{way}", self.server.url(mode), ca_file, str(exchanges), str(clients)]
        return program, environment

    def instructions(self, command, environment):
        done = run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.work}/callgrind", *command], env=environment)
        return int(re.search(r"Collected : (\d+)", done.stderr).group(1))

    def allocations(self, command, environment):
        done = run(["valgrind", "--tool=dhat", f"--dhat-out-file={self.work}/dhat", *command], env=environment)
        blocks = re.search(r"Total: +[\d,]+ bytes in ([\d,]+) blocks", done.stderr).group(1)
        peak = re.search(r"At t-gmax: +([\d,]+) bytes", done.stderr).group(1)
        return int(blocks.replace(",", "")), int(peak.replace(",", ""))

    def system_calls(self, command, environment):
        run(["strace", "-c", "-f", "-o", f"{self.work}/strace", *command], env=environment)
        for line in open(f"{self.work}/strace"):
            if line.rstrip().endswith(" total"):
                # "100.00 seconds usecs/call calls [errors] total"
                return int(line.split()[3])
        sys.exit("strace printed no total")

    def peak_rss(self, command, environment):
        """In KiB, by time(1): a child of this process would start with its memory."""
        done = run(["/usr/bin/time", "-f", "peak_rss_kib %M", *command], env=environment)
        return numbers(done.stderr)["peak_rss_kib"]

    def once(self, command, environment):
        """Returns the wall and processor seconds of one process."""
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        if status != 0:
            sys.exit(f"{command[0]} failed")
        return time.perf_counter() - start, usage.ru_utime + usage.ru_stime

    def fresh(self, counts_only):
        """A new process that gets one token."""
        ways = [("library", "none"), ("libcurl", "none"), ("rustls", "none"), ("library", "bundled"),
                ("library", "system"), ("libcurl", "system"), ("rustls", "system")]
        table = {f"{way}, {roots}": {} for way, roots in ways}
        for way, roots in ways:
            say(f"fresh process: counts, {way}, roots {roots}")
            program = self.command(way, "kept", roots=roots)
            row = table[f"{way}, {roots}"]
            row["instructions"] = self.instructions(*program)
            row["system_calls"] = self.system_calls(*program)
            row["allocations"], row["peak_heap"] = self.allocations(*program)
            if not counts_only:
                row["peak_rss_kib"] = statistics.median(self.peak_rss(*program) for _ in range(5))
        if not counts_only:
            say("fresh process: times")
            times = {name: [] for name in table}
            for _ in range(5 if self.quick else 101):
                for way, roots in ways:
                    times[f"{way}, {roots}"].append(self.once(*self.command(way, "kept", roots=roots)))
            for name, rows in times.items():
                for at, what in enumerate(("wall_s", "cpu_s")):
                    table[name][what] = statistics.median(row[at] for row in rows)
        self.result["fresh"] = table

    def exchanges(self, counts_only):
        """A further exchange of a client, on each kind of connection."""
        few, many = 5, 25
        self.result["exchange"] = {}
        for mode in Server.MODES:
            table = self.result["exchange"][mode] = {way: {} for way in WAYS}
            for way in WAYS:
                say(f"exchange, {mode} connection: counts, {way}")
                programs = [self.command(way, mode, number) for number in (few, many)]
                for what, measure in (
                        ("instructions", lambda *p: self.instructions(*p)), ("system_calls", lambda *p: self.system_calls(*p)),
                        ("allocations", lambda *p: self.allocations(*p)[0])):
                    self.server.seen()
                    small, large = [measure(*program) for program in programs]
                    table[way][what] = (large - small) / (many - few)
                    self.prove(mode, way, self.server.seen(), few + many, 2)
            for way in WAYS:
                program, environment = self.command(way, mode, 2, 8)
                table[way]["heap_per_client"] = numbers(run(program, env=environment).stdout)["heap_per_client"]
            if counts_only:
                continue
            say(f"exchange, {mode} connection: times")
            times = {way: [] for way in WAYS}
            eight = {way: [] for way in WAYS}
            for _ in range(3 if self.quick else 21):
                for clients, rows, name in ((1, times, "other_ns"), (8, eight, "all_ns")):
                    for way in WAYS:
                        program, environment = self.command(way, mode, 25, clients)
                        rows[way].append(numbers(run(program, env=environment).stdout)[name])
            for way in WAYS:
                table[way]["wall_ns"] = statistics.median(times[way])
                table[way]["eight_clients_wall_ns"] = statistics.median(eight[way])

    @staticmethod
    def prove(mode, way, seen, requests, processes):
        """Checks that the server saw this kind of connection."""
        resumed = sum(1 for reused, _ in seen if reused)
        kept = sum(1 for _, number in seen if number > 1)
        expected = {"new": (0, 0), "resumed": (requests - processes, 0), "kept": (0, requests - processes)}[mode]
        if len(seen) != requests or (resumed, kept) != expected:
            sys.exit(f"{way}: {len(seen)} requests, {resumed} on resumed and {kept} on kept connections; "
                     f"expected {requests}, {expected[0]} and {expected[1]}")

    def sizes(self):
        """The bytes on disk of a library and of all that it loads, except the C library."""
        self.result["size"] = {}
        common = ("libc.so", "ld-linux", "linux-vdso", "libm.so", "libpthread", "libdl", "libgcc_s")
        libcurl = next(path for path in closure(f"{self.bin}/libcurl") if "libcurl" in path)
        for name, path in (("library", f"{self.bin}/libclopos_auth.so.1"), ("libcurl", libcurl)):
            files = {os.path.realpath(file) for file in [path, *closure(path)]
                     if not os.path.basename(file).startswith(common)}
            if name == "libcurl":
                files |= {os.path.realpath(file) for file in closure(f"{self.bin}/libcurl") if "cjson" in file}
            self.result["size"][name] = {"bytes": sum(map(os.path.getsize, files)), "files": len(files)}

    def growth(self):
        table = self.result["growth"] = {"clients": {}, "threads": {}}
        for what, counts in (("clients", (1, 100, 1000 if self.quick else 10000)), ("threads", (1, 16, 64, 256))):
            for count in counts:
                say(f"growth: {count} {what}")
                folder = self.server.folder
                seen = numbers(run([f"{self.bin}/growth", self.server.url("kept"), f"{folder}/ca.pem", what, str(count)]).stdout)
                table[what][str(count)] = {name: (seen[f"after_{name}"] - seen[f"before_{name}"]) / count
                                           for name in ("rss_kib", "heap", "threads", "files")}

    def cached(self, programs):
        """Each program prints rows of a name and the ns for 1, 2, 8 and 32 threads; see cached_token.c."""
        self.result["cached"] = {}
        rounds = "3" if self.quick else "21"
        for language, command in programs:
            say(f"cached token, {language}")
            folder = self.server.folder
            done = run([*command, self.server.url("kept"), f"{folder}/ca.pem", rounds])
            rows = {}
            for line in done.stdout.splitlines():
                match = re.fullmatch(r"(\D.*?)((?: +\d+\.\d+){4})", line)
                if match:
                    rows[match.group(1).strip()] = [float(number) for number in match.group(2).split()]
            if not rows:
                sys.exit(f"{language} measured nothing:\n{done.stdout}")
            self.result["cached"][language] = rows
            if match := re.search(r"^allocations_per_call (.*)$", done.stdout, re.MULTILINE):
                self.result.setdefault("cached_allocations", {})[language] = float(match.group(1))


def closure(path):
    return re.findall(r"=> (/\S+)", run(["ldd", path]).stdout)


def machine():
    model = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    return {"processor": model.group(1) if model else "?", "cores": os.cpu_count(), "date": time.strftime("%Y-%m-%d")}


# The time of a cached token relative to a peer in the same run: (language, row, peer's row, threads, at most).
THREADS = (1, 2, 8, 32)
CACHED_GOALS = [
    ("Go", "Token", "oauth2.ReuseTokenSource, no copy", 1, 1.2),
    ("Go", "Token", "oauth2.ReuseTokenSource, no copy", 8, 0.6),
    ("Go", "Token", "oauth2.ReuseTokenSource, no copy", 32, 0.6),
    (".NET", "GetToken", "lock alone", 1, 3),
    (".NET", "GetTokenAsync", "lock alone", 1, 3),
]


def cached_goals(cached):
    """Yields the goals of the languages that were measured."""
    for language, way, peer, threads, goal in CACHED_GOALS:
        if language in cached:
            ours, others = (cached[language][row][THREADS.index(threads)] for row in (way, peer))
            yield f"cached token from {language}, {threads} threads: time relative to {peer}", ours / others, goal


def goals(result):
    """Returns (what, figure, goal) of the reproducible figures and of the times of a cached token: at most the goal.
    If the goal is not reached yet, a fourth number is the limit until then."""
    fresh, exchange = result["fresh"], result["exchange"]
    of = lambda table, what, way, base: table[way][what] / table[base][what]
    return [
        ("fresh process, one CA: instructions relative to bare rustls", of(fresh, "instructions", "library, none", "rustls, none"), 1.10),
        ("fresh process, bundled roots: instructions relative to libcurl and the system's bundle", of(fresh, "instructions", "library, bundled", "libcurl, system"), 0.05),
        ("fresh process, system's bundle: instructions relative to libcurl", of(fresh, "instructions", "library, system", "libcurl, system"), 0.05),
        ("new connection: instructions relative to bare rustls", of(exchange["new"], "instructions", "library", "rustls"), 1.10),
        ("resumed connection: instructions relative to libcurl", of(exchange["resumed"], "instructions", "library", "libcurl"), 0.35, 0.36),
        ("kept connection: system calls", exchange["kept"]["library"]["system_calls"], 6, 24),
        ("kept connection: allocations", exchange["kept"]["library"]["allocations"], 60, 64),
        ("heap of a used client relative to libcurl's", of(exchange["kept"], "heap_per_client", "library", "libcurl"), 1.0),
        ("the library's size in MB", result["size"]["library"]["bytes"] / 1e6, 1.9),
        *((f"cached token from {language}: allocations", count, 0)
          for language, count in result.get("cached_allocations", {}).items()),
        *cached_goals(result.get("cached", {})),
    ]


def table(result):
    """Returns the tables of tests/bench/README.md."""
    lines = ["| | libclopos_auth | libcurl + cJSON | bare rustls |", "|---|---:|---:|---:|"]

    def row(what, values):
        lines.append(f"| {what} | " + " | ".join("–" if v is None else v for v in values) + " |")

    fresh = result["fresh"]
    for roots, name in (("none", "one CA"), ("system", "the system's bundle")):
        cells = [fresh[f"{way}, {roots}"] for way in WAYS]
        row(f"fresh process, {name}: instructions, M", [f"{c['instructions'] / 1e6:.2f}" for c in cells])
        row("… system calls", [str(c["system_calls"]) for c in cells])
        if "wall_s" in cells[0]:
            row("… wall ms, CPU ms, peak MB", [f"{c['wall_s'] * 1e3:.1f}, {c['cpu_s'] * 1e3:.1f}, {c['peak_rss_kib'] / 1024:.1f}" for c in cells])
    bundled = fresh["library, bundled"]
    row("fresh process, bundled roots: instructions, M", [f"{bundled['instructions'] / 1e6:.2f}", None, None])
    for mode, cells in result["exchange"].items():
        cells = [cells[way] for way in WAYS]
        row(f"exchange on a {mode} connection: instructions, K", [f"{c['instructions'] / 1e3:.0f}" for c in cells])
        row("… system calls, allocations", [f"{c['system_calls']:.1f}, {c['allocations']:.0f}" for c in cells])
        if "wall_ns" in cells[0]:
            row("… wall µs, alone and 8 clients at once", [f"{c['wall_ns'] / 1e3:.0f}, {c['eight_clients_wall_ns'] / 1e3:.0f}" for c in cells])
    row("heap of a used client, KB", [f"{result['exchange']['kept'][way]['heap_per_client'] / 1e3:.0f}" for way in WAYS])
    sizes = result["size"]
    row("size with what it loads beyond the C library, MB (files)", [f"{sizes[way]['bytes'] / 1e6:.2f} ({sizes[way]['files']})" for way in ("library", "libcurl")] + [None])
    if "growth" in result:
        lines += ["", "| each of | resident KiB | heap bytes | threads | descriptors |", "|---|---:|---:|---:|---:|"]
        for what, rows in result["growth"].items():
            for count, cells in rows.items():
                also = ", one client, beyond an idle thread" if what == "threads" else ""
                # Idle threads of the same number are subtracted: the threads themselves do not count.
                lines.append(f"| {count} {what}{also} | {cells['rss_kib']:.1f} | {cells['heap']:.0f} | {cells['threads']:.0f} | {cells['files']:.0f} |")
    if result.get("cached"):
        lines += ["", "| cached token, ns for one call summed over threads | 1 | 2 | 8 | 32 |", "|---|---:|---:|---:|---:|"]
        for language, rows in result["cached"].items():
            for name, cells in rows.items():
                lines.append(f"| {language}: {name} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |")
    return "\n".join(lines)


def plot(path, title, bars):
    """Writes a plot with a bar for each (label, value, text, colour)."""
    wide, top = max(value for _, value, _, _ in bars), 34
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {top + 22 * len(bars)}" '
             'font-family="sans-serif" font-size="12" fill="#808890">', f"<title>{title}</title>",
             f'<text x="0" y="16" font-weight="bold">{title}</text>']
    for at, (label, value, text, colour) in enumerate(bars):
        y = top + 22 * at
        parts.append(f'<text x="250" y="{y + 12}" text-anchor="end">{label}</text>')
        parts.append(f'<rect x="258" y="{y}" width="{max(360 * value / wide, 1):.1f}" height="15" fill="{colour}"/>')
        parts.append(f'<text x="{264 + 360 * value / wide:.1f}" y="{y + 12}">{text}</text>')
    with open(path, "w") as file:
        file.write("\n".join([*parts, "</svg>", ""]))


COLOURS = {"library": "#10a37f", "libcurl": "#e0662f", "rustls": "#808890"}
NAMES = {"library": "libclopos_auth", "libcurl": "libcurl + cJSON", "rustls": "bare rustls"}


def plots(result, folder):
    bars = []
    for what, pick in (("fresh process", lambda way: result["fresh"][f"{way}, none"]),
                       *((f"{mode} connection", lambda way, mode=mode: result["exchange"][mode][way]) for mode in Server.MODES)):
        for way in WAYS:
            value = pick(way)["instructions"] / 1e6
            bars.append((f"{what}, {NAMES[way]}", value, f"{value:.2f}", COLOURS[way]))
    plot(f"{folder}/instructions.svg", "One token over HTTPS, one CA: millions of instructions", bars)
    bars = []
    for language, rows in result.get("cached", {}).items():
        for name, cells in rows.items():
            ours = name.startswith(("copy_token", "get_token", "GetToken", "library", "Token"))
            bars.append((f"{language}: {name}", cells[2], f"{cells[2]:.0f}", COLOURS["library" if ours else "libcurl"]))
    if bars:
        plot(f"{folder}/cached.svg", "A cached token, 8 threads: ns for one call, summed over threads", bars)


def rewrite(path, text):
    """Replaces the marked region of tests/bench/README.md."""
    content = open(path).read()
    start, end = "<!-- bench: written by tests/bench/run.sh -->\n", "<!-- bench: end -->"
    before, rest = content.split(start)
    after = rest.split(end)[1]
    with open(path, "w") as file:
        file.write(before + start + text + "\n" + end + after)


def report(result):
    """Prints a result, and appends it to the file CLOPOS_TEST_RESULTS."""
    print(result)
    with open(os.environ.get("CLOPOS_TEST_RESULTS", os.devnull), "a") as results:
        print(result, file=results)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--counts", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--cached", action="append", default=[], help="LANGUAGE=PROGRAM")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as work:
        os.chmod(work, 0o755)
        server = Server(work)
        try:
            bench = Bench(arguments, server, work)
            bench.sizes()
            bench.fresh(arguments.counts)
            bench.exchanges(arguments.counts)
            if not arguments.counts:
                bench.growth()
                bench.cached([pair.split("=", 1)[0:1] + [pair.split("=", 1)[1].split()] for pair in arguments.cached])
        finally:
            server.process.terminate()
            server.process.wait()
    result = bench.result
    result["goals"] = [
        {"what": what, "figure": figure, "goal": goal, "at_most": [goal, *held][-1]} for what, figure, goal, *held in goals(result)
    ]
    os.makedirs(os.path.dirname(os.path.abspath(arguments.out)), exist_ok=True)
    with open(arguments.out, "w") as file:
        json.dump(result, file, indent=1)
    text = table(result)
    print(text, "\n")
    for goal in result["goals"]:
        word = "ok" if goal["figure"] <= goal["at_most"] else "not ok"
        report(f"{word} - {goal['what']}: {goal['figure']:.3f}, at most {goal['at_most']}" +
             ("" if goal["figure"] <= goal["goal"] else f"; the goal, not reached yet, is {goal['goal']}"))
    plots(result, HERE if arguments.write else os.path.dirname(os.path.abspath(arguments.out)))
    if arguments.write:
        rewrite(f"{HERE}/README.md", text)


main()
