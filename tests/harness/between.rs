//! A place between a client and a server, to do something at exactly one moment of their talk.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

/// Forwards connections to `to`; the first request that holds `needle` waits until `meanwhile` is done.
pub async fn between(
    to: SocketAddr,
    needle: &'static str,
    meanwhile: impl Future<Output = ()> + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let meanwhile = Arc::new(Mutex::new(Some(Box::pin(meanwhile))));
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(to).await.unwrap();
            let meanwhile = Arc::clone(&meanwhile);
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
            });
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                    if text.contains(needle)
                        && let Some(meanwhile) = meanwhile.lock().await.take()
                    {
                        meanwhile.await;
                    }
                    to_server.write_all(&buffer[..count]).await.unwrap();
                }
            });
        }
    });
    address
}
