//! Free ports on loopback.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// Ports are taken below the range of outgoing connections, so that none of those takes one meanwhile.
const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;

/// A port that nothing listens on now. Each call gives another one, and processes begin at different places.
#[must_use]
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = LAST - FIRST;
    let begin = (std::process::id().wrapping_mul(97) % u32::from(span)) as u16;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (begin + step % span) % span;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on loopback")
}

/// The same as `host:port`.
#[must_use]
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free())
}
