//! Scripts of faults: steps that are done to a connection, without HTTP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// A client's connection, with or without TLS.
pub(crate) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// One step of a script. After the last step the connection is closed without close_notify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads once. On loopback this is the client's whole first message.
    Read,
    /// Reads a ClientHello and sends this percentage of the correct response, one byte at a time with this pause
    /// after each.
    Handshake(Duration, usize),
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes below TLS.
    SendBelow(Vec<u8>),
    /// After a request: sends a good response with a token.
    Grant,
    /// On a new connection, as the last step: continues without a fault.
    Proceed,
    /// Sends these bytes one at a time, with this pause after each.
    Drip(Vec<u8>, Duration),
    /// Sends these bytes again and again, with this pause after each time.
    Repeat(Vec<u8>, Duration),
    /// Waits for this time.
    Sleep(Duration),
    /// Waits until the client closes the connection.
    Hang,
    /// Closes the connection: close_notify, then FIN.
    Close,
    /// Closes the connection with a reset (RST).
    Reset,
}

/// Runs a script. An error means that the client has closed the connection, which also ends the script. Dropping
/// the runtime stops it at any step.
///
/// Returns the stream if the script says [`Step::Proceed`].
pub(crate) async fn run(
    mut stream: Stream,
    steps: Vec<Step>,
    tls: Option<&Arc<ServerConfig>>,
) -> io::Result<Option<Stream>> {
    for step in steps {
        match step {
            Step::Read => drop(read_some(&mut stream).await?),
            Step::Handshake(pause, percent) => {
                let hello = read_some(&mut stream).await?;
                let mut flight = match tls {
                    Some(config) => server_flight(Arc::clone(config), &hello)?,
                    None => Vec::new(),
                };
                flight.truncate(flight.len() * percent / 100);
                drip(&mut stream, &flight, pause).await?;
            }
            Step::Send(bytes) => send(&mut stream, &bytes).await?,
            Step::SendBelow(bytes) => send(tcp_mut(&mut stream), &bytes).await?,
            // `effects` has replaced it by the bytes of the response.
            Step::Grant => {}
            Step::Proceed => return Ok(Some(stream)),
            Step::Drip(bytes, pause) => drip(&mut stream, &bytes, pause).await?,
            Step::Repeat(bytes, pause) => loop {
                send(&mut stream, &bytes).await?;
                sleep(pause).await;
            },
            Step::Sleep(time) => sleep(time).await,
            Step::Hang => while !read_some(&mut stream).await?.is_empty() {},
            Step::Close => stream.shutdown().await?,
            // Takes effect when the stream is dropped.
            Step::Reset => tcp(&stream).set_zero_linger()?,
        }
    }
    Ok(None)
}

fn tcp_mut(stream: &mut Stream) -> &mut TcpStream {
    match stream {
        Either::Left(tcp) => tcp,
        Either::Right(tls) => tls.get_mut().0,
    }
}

fn tcp(stream: &Stream) -> &TcpStream {
    match stream {
        Either::Left(tcp) => tcp,
        Either::Right(tls) => tls.get_ref().0,
    }
}

async fn read_some(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(16 * 1024);
    stream.read_buf(&mut bytes).await?;
    Ok(bytes)
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn drip(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    pause: Duration,
) -> io::Result<()> {
    for byte in bytes {
        send(stream, std::slice::from_ref(byte)).await?;
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
    Ok(())
}

/// What a TLS server sends after this ClientHello, before it waits for the client.
fn server_flight(config: Arc<ServerConfig>, mut hello: &[u8]) -> io::Result<Vec<u8>> {
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    connection.read_tls(&mut hello)?;
    connection.process_new_packets().map_err(io::Error::other)?;
    let mut flight = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut flight)?;
    }
    Ok(flight)
}
