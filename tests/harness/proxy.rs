//! A place between a client and a server where the link can be made slow, silent or broken.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What the link does to what travels over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Everything comes later by so much, in both directions.
    Delay(Duration),
    /// So many bytes a second in each direction.
    Throttle(u64),
    /// Nothing comes through in either direction, and nobody is told; connections are still taken.
    BlackHole,
    /// What the client sends disappears; what the server sends arrives.
    HalfOpen,
    /// Every connection is reset, the new ones, too.
    Reset,
}

/// A proxy in front of one server.
pub struct FaultProxy {
    /// Where it listens.
    pub address: SocketAddr,
    fault: watch::Sender<Fault>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens at `bind` (port 0 is any) and forwards to `to`.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn start(bind: &str, to: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(bind).await?;
        let address = listener.local_addr()?;
        let (fault, faults) = watch::channel(Fault::None);
        let to = to.to_owned();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, to.clone(), faults.clone()));
            }
        });
        Ok(Self {
            address,
            fault,
            accepting,
        })
    }

    /// From now on the link does this.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(client: TcpStream, to: String, mut faults: watch::Receiver<Fault>) {
    if *faults.borrow() == Fault::Reset {
        // An error says that the client is gone already.
        let _ = client.set_zero_linger();
        return;
    }
    // A server that is cut off is not reached by new connections, either.
    let passes = |fault: &Fault| !matches!(fault, Fault::BlackHole | Fault::HalfOpen);
    if faults.wait_for(passes).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(&to).await else {
        let _ = client.set_zero_linger();
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pump(from_client, to_server, faults.clone(), true);
    let down = pump(from_server, to_client, faults, false);
    // The sockets stay open until both directions have ended.
    drop(tokio::join!(up, down));
}

/// Forwards until either side ends. `up` is from the client to the server.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Fault>,
    up: bool,
) -> (OwnedReadHalf, OwnedWriteHalf) {
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut resets = faults.clone();
    loop {
        let size = match *faults.borrow() {
            Fault::Throttle(rate) => (rate / 20).clamp(1, 64 * 1024) as usize,
            _ => buffer.len(),
        };
        let read = tokio::select! {
            read = from.read(&mut buffer[..size]) => read,
            Ok(_) = resets.wait_for(|fault| *fault == Fault::Reset) => {
                for stream in [from.as_ref(), to.as_ref()] {
                    let _ = stream.set_zero_linger();
                }
                return (from, to);
            }
        };
        let Ok(count @ 1..) = read else { break };
        let fault = *faults.borrow_and_update();
        match fault {
            Fault::None | Fault::Reset => {}
            Fault::Delay(delay) => tokio::time::sleep(delay).await,
            Fault::Throttle(rate) => {
                let seconds = count as f64 / rate.max(1) as f64;
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
            Fault::HalfOpen if !up => {}
            Fault::BlackHole | Fault::HalfOpen => {
                // What was sent is in flight and may arrive when the link is back, as TCP sends it again.
                let back = |fault: &Fault| !matches!(fault, Fault::BlackHole | Fault::HalfOpen);
                if faults.wait_for(back).await.is_err() {
                    break;
                }
            }
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
    (from, to)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(b"hello").await?;
        let mut answer = [0_u8; 5];
        stream.read_exact(&mut answer).await.map(drop)
    }

    #[tokio::test]
    async fn links_can_be_slow_silent_and_broken() {
        let proxy = FaultProxy::start("127.0.0.1:0", &echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        ask(&mut stream).await.unwrap();

        proxy.set(Fault::Delay(Duration::from_millis(60)));
        let begun = Instant::now();
        ask(&mut stream).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(120));

        for silent in [Fault::BlackHole, Fault::HalfOpen] {
            proxy.set(silent);
            let asked = tokio::time::timeout(Duration::from_millis(100), ask(&mut stream)).await;
            assert!(asked.is_err(), "{silent:?}");
            // What was asked arrives when the link is back.
            proxy.set(Fault::None);
            let mut answer = [0_u8; 5];
            stream.read_exact(&mut answer).await.unwrap();
        }

        proxy.set(Fault::Reset);
        assert!(ask(&mut stream).await.is_err());
        let mut next = TcpStream::connect(proxy.address).await.unwrap();
        assert!(ask(&mut next).await.is_err());
        proxy.set(Fault::None);
        let mut next = TcpStream::connect(proxy.address).await.unwrap();
        ask(&mut next).await.unwrap();
    }
}
