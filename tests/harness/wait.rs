//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `condition` holds.
///
/// # Errors
/// It does not within `deadline`.
pub async fn eventually<F: Future<Output = bool>>(
    deadline: Duration,
    condition: impl Fn() -> F,
) -> Result<()> {
    let end = Instant::now() + deadline;
    while !condition().await {
        ensure!(
            Instant::now() < end,
            "the condition did not come true within {deadline:?}"
        );
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Waits until something listens on `host:port`, for at most ten seconds.
///
/// # Errors
/// Nothing does.
pub async fn port(address: &str) -> Result<()> {
    eventually(Duration::from_secs(30), || async {
        TcpStream::connect(address).await.is_ok()
    })
    .await
}

/// Whether a GET of `path` at `host:port` is answered with 200.
pub async fn answers_200(address: &str, path: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0_u8; 12];
        stream.read_exact(&mut status).await?;
        std::io::Result::Ok(status)
    };
    matches!(ask.await, Ok(status) if status.ends_with(b" 200"))
}
