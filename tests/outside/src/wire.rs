//! The way to a server, which can be cut: a proxy on this machine that passes bytes on in both directions.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;

/// How long requests still arrive when the answers do not any more.
const LAST_REQUESTS: Duration = Duration::from_millis(10);

/// A proxy before a server. Dropping it cuts everything and takes no more.
pub struct Wire {
    address: SocketAddr,
    ends: Arc<Ends>,
}

#[derive(Default)]
struct Ends {
    connections: Mutex<Vec<Joined>>,
    over: AtomicBool,
}

/// A connection and the one that it is passed on to.
struct Joined {
    near: TcpStream,
    far: TcpStream,
    mute: Arc<AtomicBool>,
}

impl Wire {
    /// Leads to this address.
    ///
    /// # Errors
    /// No port is free.
    pub fn to(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let wire = Self {
            address: listener.local_addr()?,
            ends: Arc::default(),
        };
        let (server, ends) = (server.to_owned(), wire.ends.clone());
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if ends.over.load(Ordering::Acquire) {
                    return;
                }
                // Whoever comes while the server is away is hung up on.
                let _ = ends.join(near, &server);
            }
        });
        Ok(wire)
    }

    /// Where it begins: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts all connections. New ones are led on.
    pub fn cut(&self) {
        self.ends.cut();
    }

    /// Cuts all connections, so that what was asked for last has arrived and nobody hears what came of it.
    pub fn cut_answers(&self) {
        for joined in self.ends.connections().iter() {
            joined.mute.store(true, Ordering::Release);
        }
        thread::sleep(LAST_REQUESTS);
        self.cut();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.ends.over.store(true, Ordering::Release);
        // Whoever waits for the next connection gets one, and sees that it is over.
        let _ = TcpStream::connect(self.address);
        self.ends.cut();
    }
}

impl Ends {
    fn join(&self, near: TcpStream, server: &str) -> Result<()> {
        let far = TcpStream::connect(server)?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let mute = Arc::new(AtomicBool::new(false));
        let (asks, told) = (near.try_clone()?, far.try_clone()?);
        let (asked, tells) = (far.try_clone()?, near.try_clone()?);
        let muted = mute.clone();
        let mut connections = self.connections();
        connections.retain(|joined| joined.near.peer_addr().is_ok());
        connections.push(Joined { near, far, mute });
        thread::spawn(move || pass_on(asks, asked, &AtomicBool::new(false)));
        thread::spawn(move || pass_on(told, tells, &muted));
        Ok(())
    }

    fn cut(&self) {
        for joined in self.connections().drain(..) {
            let _ = joined.near.shutdown(Shutdown::Both);
            let _ = joined.far.shutdown(Shutdown::Both);
        }
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Joined>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until one of the two ends.
fn pass_on(mut from: TcpStream, mut to: TcpStream, mute: &AtomicBool) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let read = bytes.get(..length).unwrap_or_default();
        if !mute.load(Ordering::Acquire) && to.write_all(read).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
