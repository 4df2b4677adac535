//! The last line names the cause of each failure and what to fix.

use super::*;

#[test]
fn the_doctor_reports_success_and_marks_what_it_did_not_check() {
    let sandbox = sandbox();
    Till::of(&sandbox).expect_output("none", SUCCESS, ALL_OK, 0);
    assert_eq!(sandbox.issued_tokens().len(), 1);
    let plain = sandbox_with(|settings| settings.tls = false);
    Till::of(&plain).expect_output("none", SUCCESS, &ALL_OK.replace("tls ok", "tls -"), 0);
    plain.fail(Fault::Status503);
    let steps = REFUSED.replace("tls ok, clock ok", "tls -, clock -");
    let sentence = "To fix: nothing on this device: the service itself fails";
    Till::of(&plain).expect_output("503 without TLS", sentence, &steps, 15);
}

#[test]
fn the_doctor_names_the_setting_that_is_wrong() {
    let sandbox = sandbox();
    let till = || Till::of(&sandbox);
    let with = |option: &str| till().option(option);
    for (failure, till, part) in [
        (
            "all variables are missing",
            Till::default(),
            "not set: CLOPOS_CLIENT_ID, CLOPOS_CLIENT_SECRET, CLOPOS_BRAND, CLOPOS_INTEGRATOR_ID)",
        ),
        (
            "two variables are missing",
            till().set("CLOPOS_BRAND", "").set("CLOPOS_CLIENT_ID", ""),
            "not set: CLOPOS_CLIENT_ID, CLOPOS_BRAND)",
        ),
        (
            "a control character",
            till().set("CLOPOS_CLIENT_SECRET", "a\tb"),
            "client_secret contains a control",
        ),
        (
            "plain http",
            with("--base-url=http://example.com"),
            "base_url: http:// would send",
        ),
        (
            "no scheme",
            with("--base-url=integrations.clopos.com"),
            "base_url does not start",
        ),
        (
            "no CA file",
            with("--ca-file=/nowhere/ca.pem"),
            "/nowhere/ca.pem: No such file",
        ),
        (
            "an empty CA file",
            with("--ca-file=/dev/null"),
            "pem is empty",
        ),
        (
            "a CA file without a certificate",
            till().set("CLOPOS_CA_FILE", &file("text", "hello")),
            "pem contains no BEGIN CERTIFICATE",
        ),
        (
            "no root at all",
            with("--roots=none").set("CLOPOS_CA_FILE", ""),
            "roots is NONE and no CA was added",
        ),
        (
            "an unknown value of roots",
            till().set("CLOPOS_ROOTS", "mine"),
            "the roots are neither bundled nor",
        ),
        (
            "a value that is no number",
            till().set("CLOPOS_TIMEOUT_MS", "5s"),
            "CLOPOS_TIMEOUT_MS is not a number",
        ),
        (
            "a number out of range",
            with("--max-attempts").option("11"),
            "max_attempts is 11",
        ),
        (
            "an unusable proxy",
            till().set("CLOPOS_PROXY", "socks5://u:hunter2@proxy:1"),
            "proxy: SOCKS proxies are not supported",
        ),
        (
            "an invalid file of variables",
            with("--env-file").option(&file("env", "CLOPOS_BRAND\n")),
            &format!("{}-env: line 1 is not NAME=VALUE", doctor().display()),
        ),
    ] {
        let sentence = format!("To fix: correct the settings of this device ({part}");
        till.expect_output(failure, &sentence, NO_SETTINGS, 1);
    }
    assert_eq!(sandbox.auth_requests(), 0);
}

#[test]
fn the_doctor_names_the_cause_of_a_failure_of_the_device_or_the_service() {
    let certified = |certificate| sandbox_with(|settings| settings.certificate = certificate);
    let hours_ahead = |hours: i64| sandbox_with(|settings| settings.clock_offset = -hours * 3600);
    let wrong_certificate = &NO_TLS.replace("tls failed, clock -", "tls -, clock failed");
    let wrong_clock = &ALL_OK.replace("clock ok", "clock wrong");
    let wrong_settings = &REFUSED.replace("settings ok", "settings wrong");
    for (failure, sandbox, sentence, steps, status) in [
        (
            "an unknown CA",
            certified(Certificate::UnknownIssuer),
            "To fix: connect to localhost directly, or add the CA certificate of the proxy … issued by",
            NO_TLS,
            10,
        ),
        (
            "a wrong host name",
            certified(Certificate::WrongHost),
            "To fix: connect to localhost directly, or add the CA certificate of the proxy … elsewhere.example",
            NO_TLS,
            10,
        ),
        (
            "an expired certificate",
            certified(Certificate::Expired),
            "To fix: set this device's date and time; if they are right, have the certificate of \
             localhost renewed (",
            wrong_certificate,
            11,
        ),
        (
            "a certificate that is not valid yet",
            certified(Certificate::NotYetValid),
            "To fix: set this device's date and time",
            wrong_certificate,
            11,
        ),
        (
            "a clock that is behind",
            hours_ahead(-1),
            "Signing in works, but set this device's date and time: they are 60 min behind",
            wrong_clock,
            11,
        ),
        (
            "a clock that is ahead",
            hours_ahead(1),
            "Signing in works, but set this device's date and time: they are 60 min ahead",
            wrong_clock,
            11,
        ),
        (
            "a login page on the TLS port",
            failing(Fault::PlainHttp),
            "To fix: connect to localhost directly, or add the CA certificate of the proxy … plain HTTP",
            NO_TLS,
            10,
        ),
        (
            "a connection that is reset",
            failing(Fault::TlsReset),
            "To fix: check the firewall and the line: connections to localhost port",
            NO_RESPONSE,
            9,
        ),
        (
            "no response",
            failing(Fault::RequestHang),
            "To fix: check the firewall and the line: localhost port",
            NO_RESPONSE,
            7,
        ),
        (
            "a wrong secret",
            sandbox(),
            "To fix: correct the client id, the client secret or the brand before",
            REFUSED,
            13,
        ),
        (
            "a blank after the secret",
            sandbox(),
            "To fix: correct the credentials (client_secret begins or ends with a space or a quote",
            wrong_settings,
            13,
        ),
        (
            "quotes around the integrator id",
            refusing(400, "Invalid integrator_id"),
            "To fix: correct the credentials (integrator_id begins or ends with a space or a quote",
            wrong_settings,
            13,
        ),
        (
            "an unknown integrator",
            refusing(400, "Invalid integrator_id"),
            "To fix: correct the integrator id, or ask Clopos to switch it on",
            REFUSED,
            13,
        ),
        (
            "a test integrator on a production brand",
            refusing(
                200,
                "Integrator is in test mode. But brand is not in test mode",
            ),
            "To fix: use the integrator id and the brand of one environment",
            REFUSED,
            13,
        ),
        (
            "a disabled client",
            refusing(401, "Client is disabled"),
            "To fix: switch Open API on in the store's back office",
            REFUSED,
            13,
        ),
        (
            "a missing field",
            refusing(
                400,
                "Missing client_id, client_secret, brand, or integrator_id",
            ),
            "To fix: correct the credentials: the service says that one of the four is blank",
            REFUSED,
            13,
        ),
        (
            "too many requests",
            failing(Fault::Status429),
            "To fix: wait ",
            REFUSED,
            14,
        ),
        (
            "a service that fails",
            failing(Fault::Status500),
            "To fix: nothing on this device: the service itself fails (HTTP 500).",
            REFUSED,
            15,
        ),
        (
            "a gateway without a response of its service",
            failing(Fault::Status504),
            "To fix: nothing on this device: the service itself did not answer its own gateway in time",
            REFUSED,
            15,
        ),
        (
            "a web page",
            failing(Fault::BodyHtml),
            "To fix: find out what answers in the place of localhost: a login page of this network",
            REFUSED,
            16,
        ),
        (
            "a redirect",
            failing(Fault::Redirect302),
            "To fix: correct the base URL, or sign in to this network's login page",
            REFUSED,
            16,
        ),
        (
            "a wrong path",
            answering(404, "<h1>Not found</h1>"),
            "To fix: correct the base URL or the path of the sign-in: there is no such service at localhost",
            REFUSED,
            16,
        ),
    ] {
        let till = Till::of(&sandbox);
        let till = match failure {
            "no response" => till.option("--attempt-timeout-ms=2000"),
            "a wrong secret" => till.set("CLOPOS_CLIENT_SECRET", "another_secret"),
            "a blank after the secret" => {
                till.set("CLOPOS_CLIENT_SECRET", &format!("{CLIENT_SECRET} "))
            }
            "quotes around the integrator id" => till.set("CLOPOS_INTEGRATOR_ID", "\"7\""),
            _ => till,
        };
        till.expect_output(failure, sentence, steps, status);
    }
    let port = unused_port();
    Till::at(&format!("https://127.0.0.1:{port}")).expect_output(
        "a refused connection",
        &format!(
            "To fix: check the port in the base URL, and the firewall: 127.0.0.1 refuses connections to \
             port {port}"
        ),
        NO_CONNECTION,
        9,
    );
}

/// C source of a library that, when preloaded, sets a program's date to 60 s after the start of 1970.
const FIRST_MINUTES: &str = "
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME)
        now->tv_sec = 60;
    return result;
}

time_t time(time_t *now)
{
    if (now != NULL)
        *now = 60;
    return 60;
}
";

#[test]
fn the_doctor_names_and_shows_a_date_of_1970() {
    let (source, library) = (file("1970.c", FIRST_MINUTES), file("1970.so", ""));
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", &library, &source])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let sandbox = sandbox();
    let till = Till::of(&sandbox).set("LD_PRELOAD", &library);
    till.expect_output(
        "a device without a battery",
        "To fix: set this device's date and time",
        &NO_TLS.replace("tls failed, clock -", "tls -, clock failed"),
        11,
    );
    let output = String::from_utf8(till.run().stdout).unwrap();
    let head = output.lines().next().unwrap();
    assert!(head.ends_with(", 1970-01-01T00:01:00Z"), "{head}");
    assert_eq!(sandbox.auth_requests(), 0);
}

#[test]
fn the_doctor_names_the_cause_of_a_proxys_failure_without_its_password() {
    let refused = format!("http://till:{PROXY_PASSWORD}@127.0.0.1:{}", unused_port());
    for (failure, proxy, sentence, steps) in [
        (
            "a proxy that needs a password",
            proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
            "To fix: put the proxy's right user name and password into its URL",
            NO_RESPONSE,
        ),
        (
            "a proxy that needs another login than a password",
            proxy("HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\n\r\n"),
            "To fix: ask the proxy's administrator to let this device pass without a login … NTLM",
            NO_RESPONSE,
        ),
        (
            "a proxy that forbids the host",
            proxy("HTTP/1.1 403 Forbidden\r\n\r\n"),
            "To fix: ask the proxy's administrator to allow CONNECT to a.example port 443",
            NO_RESPONSE,
        ),
        (
            "a proxy that gets too many requests",
            proxy("HTTP/1.1 429 Too Many Requests\r\n\r\n"),
            "To fix: wait, and ask the proxy's administrator to allow more requests",
            NO_RESPONSE,
        ),
        (
            "a proxy without internet",
            proxy("HTTP/1.1 502 Bad Gateway\r\n\r\n"),
            "To fix: check that the proxy reaches the internet",
            NO_RESPONSE,
        ),
        (
            "a server that is no proxy",
            proxy("SSH-2.0-OpenSSH_9.6\r\n"),
            "To fix: correct the proxy's URL",
            NO_RESPONSE,
        ),
        (
            "a proxy that does not run",
            refused,
            "To fix: correct the proxy's URL, or check that the proxy runs",
            NO_CONNECTION,
        ),
    ] {
        // A password may contain a slash, and must not be shown either.
        let slashed = proxy.replace("till:", "till:hunter2/x");
        for (variable, url) in [
            ("HTTPS_PROXY", &proxy),
            ("all_proxy", &slashed.replace("http:", "HTTP:")),
            ("CLOPOS_PROXY", &proxy),
        ] {
            Till::at("https://a.example")
                .set(variable, url)
                .expect_output(failure, sentence, steps, 12);
        }
    }
    Till::at("https://a.example")
        .set("HTTPS_PROXY", "socks5://till:hunter2@127.0.0.1:1")
        .expect_output(
            "a proxy of another kind",
            "To fix: correct the settings of this device (environment variable HTTPS_PROXY is invalid",
            NO_SETTINGS,
            12,
        );
    let failing = &proxy("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    let sandbox = sandbox();
    Till::of(&sandbox)
        .set("HTTPS_PROXY", failing)
        .expect_output(
            "a proxy that is not used for this device itself",
            SUCCESS,
            ALL_OK,
            0,
        );
}

#[test]
fn the_doctor_names_the_cause_of_a_failure_of_the_network() {
    lab::run(
        the_doctor_names_the_cause_of_a_failure_of_the_network,
        |lab| {
            let sandbox = lab.sandbox(|_| ());
            let url = |host: &str| format!("https://{host}:{}", sandbox.port());
            let at = |host: &str| Till::of(&sandbox).set("CLOPOS_BASE_URL", &url(host));
            let host = &format!("till.{DOMAIN}");
            at(host).expect_output(
                "no name server",
                "To fix: connect this device to its network, or correct the name server in its \
                 settings: none answered for till.store.test",
                NO_NAME,
                8,
            );
            let names = NameServer::start(lab);
            at("unknown.test").expect_output(
                "a name that does not exist",
                "To fix: correct the host name in the base URL, or the name server of this network: \
                 it says that there is no unknown.test",
                NO_NAME,
                8,
            );
            at("203.0.113.1").expect_output(
                "no route",
                "To fix: give this device a route to the internet",
                NO_CONNECTION,
                9,
            );

            let (v4, v6) = (IpAddr::V4(STORE_V4), IpAddr::V6(v6(2)));
            lab.nft_store(ARRIVING);
            lab.nft_store("add rule inet lab arriving ip6 daddr 2001:db8::2 meta l4proto tcp drop");
            names.set(host, &[v6, v4]);
            at(host).expect_output(
                "IPv6 that is not routed",
                "Signing in works, but 2001:db8::2 does not answer, which costs time",
                &ALL_OK.replace("connect ok", "connect failed, connect ok"),
                0,
            );
            // The doctor does not evaluate NO_PROXY, so it checks the way with and without the proxy.
            let failing = proxy("HTTP/1.1 502 Bad Gateway\r\n\r\n");
            names.set(host, &[v4]);
            let two_ways = "dns ok, connect ok, dns ok, connect ok";
            let two_ways = |steps: &str| steps.replace("dns ok, connect ok", two_ways);
            let behind_proxy = at(host).set("HTTPS_PROXY", &failing);
            let excepted = behind_proxy.clone().set("NO_PROXY", DOMAIN);
            excepted.expect_output("an excepted host", SUCCESS, &two_ways(ALL_OK), 0);
            behind_proxy.set("NO_PROXY", "other.test").expect_output(
                "a host that is not excepted",
                "To fix: check that the proxy reaches the internet",
                &two_ways(NO_RESPONSE),
                12,
            );
            at(host)
                .set("HTTPS_PROXY", "socks5://till:hunter2@127.0.0.1:1")
                .set("NO_PROXY", DOMAIN)
                .expect_output(
                    "a host that is excepted from a proxy of another kind",
                    SUCCESS,
                    &ALL_OK.replace("proxy ok", "proxy wrong"),
                    0,
                );
            names.set(host, &[v6]);
            at(host).option("--attempt-timeout-ms=500").expect_output(
                "a firewall that drops",
                &format!(
                    "To fix: check the firewall and the line: {host} port {} does not answer",
                    sandbox.port()
                ),
                NO_CONNECTION,
                9,
            );
            names.fail(host, &[v4], DnsFault::Slow(Duration::from_millis(800)));
            at(host).option("--attempt-timeout-ms=200").expect_output(
                "a slow name server",
                "To fix: repair the name server of this network: it answers for till.store.test too late",
                NO_RESPONSE,
                8,
            );

            // This network's name server gives a loopback address for a public name.
            let public = "integrations.clopos.example";
            let ours = sandbox_with(|settings| settings.names = vec![public.to_owned()]);
            let page = sandbox_with(|settings| settings.certificate = Certificate::UnknownIssuer);
            names.set(public, &[Ipv4Addr::LOCALHOST.into()]);
            let at =
                |port| Till::of(&ours).set("CLOPOS_BASE_URL", &format!("https://{public}:{port}"));
            let wrong = |steps: &str| steps.replace("dns ok", "dns wrong");
            let why =
                "To fix: find out why integrations.clopos.example is 127.0.0.1 on this network";
            at(unused_port()).expect_output(
                "a loopback address for a public name",
                why,
                &wrong(NO_CONNECTION),
                9,
            );
            at(page.port()).expect_output("a login page", why, &wrong(NO_TLS), 10);
            at(ours.port()).expect_output(
                "DNS rewriting that leads to the service",
                "Signing in works, but integrations.clopos.example is 127.0.0.1 on this network",
                &wrong(ALL_OK),
                0,
            );
        },
    );
}
