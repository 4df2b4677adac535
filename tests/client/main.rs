//! The client against the sandbox: many threads, failures, clocks. Time is injected, except in tests of
//! real waiting. Deadlines in real time are in `tests/client_deadlines.rs`, forks in `tests/client_fork.rs`.

#[path = "../support/mod.rs"]
mod support;

mod cancel_and_close;
mod changes;
mod lifetime;
mod limits;
mod refresh;
mod refused_tokens;
mod settings;
mod single_flight;
mod state;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use clopos_auth::testing::clock::{Clock, TimeSource};
use clopos_auth::{Client, Config, Credentials, Error, LogLevel, State, Status};
use clopos_sandbox::{Fault, Sandbox, Settings, StandIn};

use support::*;

/// A timeout that only passes if the test moves the injected clock. A call with it waits for a running attempt,
/// but not for a pause between attempts.
const SHORT: Option<Duration> = Some(MS);
const NOW: Option<Duration> = Some(Duration::ZERO);
const MINUTE: Duration = Duration::from_secs(60);

fn last_status(state: &State) -> Option<Status> {
    let last = state.last_result.as_ref()?;
    Some(
        last.error
            .as_ref()
            .map_or(Status::Ok, |error| error.status()),
    )
}
