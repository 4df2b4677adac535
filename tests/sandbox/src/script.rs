//! What to do to a connection below HTTP, step by step, and the player that does it.

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

/// One thing done to a connection. After the last one, the connection is closed without a good-bye.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads what the client says first. One read is enough on loopback.
    Read,
    /// Reads a ClientHello and answers it truly, one byte at a time with this pause after each, and
    /// stops after so many percent of the answer.
    Handshake(Duration, usize),
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes below TLS.
    SendBelow(Vec<u8>),
    /// After a request: sends a good answer, with a token.
    Grant,
    /// On a new connection: goes on as if nothing had happened. The last step.
    Proceed,
    /// Sends one byte at a time, with a pause after each.
    Drip(Vec<u8>, Duration),
    /// Sends this again and again.
    Repeat(Vec<u8>, Duration),
    /// Does nothing for this long.
    Sleep(Duration),
    /// Does nothing until the client goes away.
    Hang,
    /// Ends the connection in an orderly way: close_notify, then FIN.
    Close,
    /// Ends it with an RST.
    Reset,
}

/// Plays a script. An error means that the client went away first, which ends the script too.
/// Every wait is an await, so a runtime that stops also stops a script.
///
/// Returns the stream if the script says [`Step::Proceed`].
pub(crate) async fn play(
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
            // Was put into bytes where the request is known.
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

/// All that a TLS server says to this ClientHello before it must hear from the client again.
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
