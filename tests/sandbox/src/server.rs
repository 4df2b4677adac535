//! Accepts connections, and serves TLS and HTTP on them or runs the script of a fault.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::HandshakeKind;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tower::ServiceExt;

use crate::effects::connection_script;
use crate::faults::Stage;
use crate::script::{Step, Stream, run};
use crate::service::{self, Connection};
use crate::state::State;

/// Serves until it is dropped, and its connections with its runtime.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>) {
    let router = service::router(Arc::clone(&state));
    loop {
        match listener.accept().await {
            Ok((tcp, client)) => {
                let (state, router) = (Arc::clone(&state), router.clone());
                tokio::spawn(async move {
                    if let Err(error) = connection(tcp, client, &state, router).await {
                        log::debug!("connection ended: {error}");
                    }
                });
            }
            Err(error) => {
                log::warn!("accept failed: {error}");
                // Out of file descriptors: give connections time to end.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(
    tcp: TcpStream,
    client: SocketAddr,
    state: &State,
    router: Router,
) -> io::Result<()> {
    state.connections.add_one();
    tcp.set_nodelay(true)?;
    let fault = state.faults.lock().take(Stage::Connection);
    let mut stream = Either::Left(tcp);
    if let Some(fault) = fault {
        log::info!("fault {}", fault.name());
        let result = run(stream, connection_script(&fault), state.tls.as_ref()).await;
        state.scripts_ended.add_one();
        match result? {
            Some(usable) => stream = usable,
            None => return Ok(()),
        }
    }
    let stream = match (&state.tls, stream) {
        (None, stream) | (_, stream @ Either::Right(_)) => stream,
        (Some(config), Either::Left(tcp)) => {
            let accepting = TlsAcceptor::from(Arc::clone(config)).accept(tcp);
            let tls = accepting
                .await
                .inspect_err(|error| log::info!("TLS failed: {error}"))?;
            match tls.get_ref().1.handshake_kind() {
                Some(HandshakeKind::Resumed) => state.handshakes_resumed.add_one(),
                _ => state.handshakes_full.add_one(),
            }
            Either::Right(tls)
        }
    };
    match http(stream, client, router).await? {
        Some((stream, steps)) => {
            let result = run(stream, steps, state.tls.as_ref()).await;
            state.scripts_ended.add_one();
            result.map(drop)
        }
        None => Ok(()),
    }
}

/// Serves HTTP until the connection ends or a request has a fault with a script. Then returns the script and the
/// stream.
async fn http(
    stream: Stream,
    client: SocketAddr,
    router: Router,
) -> io::Result<Option<(Stream, Vec<Step>)>> {
    let (scripts, mut script) = mpsc::channel(1);
    let connection = Connection {
        client: client.ip(),
        scripts,
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        router.clone().oneshot(request)
    });
    let mut http = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = &mut http => ended.map(|()| None).map_err(io::Error::other),
        Some(steps) = script.recv() => {
            Ok(Some((http.into_parts().io.into_inner(), steps)))
        }
    }
}
