//! Free ports on loopback.

use std::{
    fs::{self, File, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

/// Ports are taken below the range of outgoing connections, so that none of those takes one meanwhile.
const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;

/// The locks of the ports that this process was given: a port may be listened on long after it was given, and
/// another process of tests must not be given it meanwhile. They end with the process.
static MINE: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that nothing listens on now and that no other process of tests was given. Each call gives another one, and
/// processes begin at different places.
#[must_use]
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = LAST - FIRST;
    let begin = (std::process::id().wrapping_mul(97) % u32::from(span)) as u16;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (begin + step % span) % span;
        if let Some(lock) = lock(port)
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            MINE.lock().unwrap().push(lock);
            return port;
        }
    }
    panic!("no free port on loopback")
}

/// The lock of a port, unless another process holds it.
fn lock(port: u16) -> Option<File> {
    let folder = std::env::temp_dir().join("halcyon-test-ports");
    fs::create_dir_all(&folder).unwrap();
    // Whoever came first owns the folder; all may use it.
    let _ = fs::set_permissions(&folder, Permissions::from_mode(0o777));
    let path = folder.join(port.to_string());
    // Another user's lock can be read, and so held, but not written.
    let lock = File::create_new(&path).or_else(|_| File::open(&path)).unwrap();
    lock.try_lock().is_ok().then_some(lock)
}

/// The same as `host:port`.
#[must_use]
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free())
}
