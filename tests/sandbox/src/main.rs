//! The sandbox as a program, for integrators without credentials.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc;

use clap::Parser;
use clopos_sandbox::{Fault, Sandbox, Settings};

/// A test server for the Clopos Open API v2 on loopback, with TLS and its own CA.
///
/// Prints "listening on https://localhost:PORT" and "control on http://127.0.0.1:PORT" when it is
/// ready, then logs each request on stderr, without secrets or tokens, until it is interrupted.
#[derive(Parser)]
#[command(version, after_long_help = AFTER_HELP)]
struct Cli {
    /// Write the CA's certificate to this file, in PEM; each start makes a new one
    #[arg(long, value_name = "PATH")]
    ca_file: Option<PathBuf>,

    /// Inject this fault: always, or TIMES times; repeat it for a sequence
    #[arg(long = "fault", value_name = "NAME[:TIMES]", value_parser = fault)]
    faults: Vec<(Fault, Option<u32>)>,

    /// List the faults and what each does, then exit
    #[arg(long)]
    list_faults: bool,

    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
Known credentials:
  client_id      sandbox_client
  client_secret  sandbox_secret
  brand          sandbox or çay-evi (test), omega (production)
  integrator_id  test_sandbox (test), live_sandbox (production), disabled_sandbox

Try it:
  clopos-sandbox --ca-file ca.pem &
  curl --cacert ca.pem https://localhost:8443/open-api/v2/auth \\
    --json '{\"client_id\": \"sandbox_client\", \"client_secret\": \"sandbox_secret\",
             \"brand\": \"sandbox\", \"integrator_id\": \"test_sandbox\"}'

While it runs, on the control port:
  POST   /sandbox/faults    {\"name\": \"status-503\", \"times\": 2}; without times: always
  DELETE /sandbox/faults    removes all faults
  POST   /sandbox/settings  any of lifetime, latency_ms, clock_offset, requests_per_minute
  GET    /sandbox/stats     counters
  GET    /sandbox/ca.pem    the CA's certificate";

fn main() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    if cli.list_faults {
        return Ok(list_faults(&mut io::stdout().lock())?);
    }
    env_logger::Builder::new()
        .filter_module("clopos_sandbox", log::LevelFilter::Info)
        .init();

    let (interrupt, interrupted) = mpsc::channel();
    // Without a receiver the program is already ending.
    ctrlc::set_handler(move || {
        let _ = interrupt.send(());
    })?;

    let sandbox = Sandbox::start(cli.settings)?;
    for (fault, times) in cli.faults {
        match times {
            Some(times) => sandbox.fail_times(fault, times),
            None => sandbox.fail(fault),
        }
    }
    if let Some(path) = &cli.ca_file {
        std::fs::write(path, sandbox.ca_pem())
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {}", sandbox.url())?;
    writeln!(stdout, "control on {}", sandbox.control_url())?;
    stdout.flush()?;

    interrupted.recv()?;
    Ok(())
}

fn list_faults(out: &mut impl Write) -> io::Result<()> {
    for fault in Fault::NAMED {
        writeln!(out, "{:<20} {}", fault.name(), fault.meaning())?;
    }
    Ok(())
}

fn fault(text: &str) -> Result<(Fault, Option<u32>), String> {
    match text.split_once(':') {
        None => Ok((text.parse()?, None)),
        Some((name, times)) => {
            let times = times.parse().map_err(|error| format!("TIMES: {error}"))?;
            Ok((name.parse()?, Some(times)))
        }
    }
}
