//! A TCP proxy before a Postgres server, which cuts connections around the commits that pass
//! through it.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// What sqlx sends to commit: the text of a simple query.
const COMMIT: &[u8] = b"COMMIT\0";

/// There is a cut every few commits: never two in a row, which would need no proxy but a server
/// that is down.
const EVERY: u32 = 3;

/// A reply at least so long holds records.
const PAGE: usize = 1000;

/// What is done to a connection, in turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The commit never reaches the server.
    BeforeCommit,
    /// It does, and the server's reply does not come back.
    AfterCommit,
    /// Three bytes of it do.
    InTheReply,
    /// Instead of the reply the client gets a reset.
    Reset,
    /// Nothing comes for a while, and then the end.
    Stall,
    /// The commit is answered, and the next page of records breaks off in its middle.
    InAPage,
}

impl Cut {
    pub(crate) const ALL: [Self; 6] = [
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::InTheReply,
        Self::Reset,
        Self::Stall,
        Self::InAPage,
    ];
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    commits: AtomicU32,
    started: AtomicU32,
    fired: Mutex<Vec<Cut>>,
    /// Waits for the next long reply, on whatever connection it comes.
    page: AtomicBool,
}

impl Proxy {
    /// Passes on to a server on this machine until the process ends.
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let all = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                Connection::between(client.unwrap(), server, &all).unwrap();
            }
        });
        Self { port, state }
    }

    /// Every cut that was made so far.
    pub(crate) fn fired(&self) -> Vec<Cut> {
        self.state.fired().clone()
    }
}

impl State {
    /// What is to be done about a commit that has come.
    fn on_commit(&self) -> Option<Cut> {
        if !(self.commits.fetch_add(1, SeqCst) + 1).is_multiple_of(EVERY) {
            return None;
        }
        let number = self.started.fetch_add(1, SeqCst) as usize;
        Some(Cut::ALL[number % Cut::ALL.len()])
    }

    fn fired(&self) -> MutexGuard<'_, Vec<Cut>> {
        self.fired.lock().unwrap()
    }
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    state: Arc<State>,
    /// Of the commit that was passed on last.
    cut: Mutex<Option<Cut>>,
}

impl Connection {
    fn between(client: TcpStream, server: TcpStream, state: &Arc<State>) -> io::Result<()> {
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let state = Arc::clone(state);
        let both = Arc::new(Self { client, server, state, cut: Mutex::new(None) });
        let back = Arc::clone(&both);
        thread::spawn(move || {
            let _ = both.there();
            both.end();
        });
        thread::spawn(move || {
            let _ = back.back();
            back.end();
        });
        Ok(())
    }

    /// What the client sends.
    fn there(&self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let sent = read(&self.client, &mut buffer)?;
            if sent.windows(COMMIT.len()).any(|window| window == COMMIT) {
                match self.state.on_commit() {
                    Some(Cut::BeforeCommit) => {
                        self.fire(Cut::BeforeCommit);
                        return Ok(());
                    }
                    Some(Cut::InAPage) => self.state.page.store(true, SeqCst),
                    cut => *self.cut.lock().unwrap() = cut,
                }
            }
            (&self.server).write_all(sent)?;
        }
    }

    /// What the server answers. After a commit was passed on, the next thing is the answer to it.
    fn back(&self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let sent = read(&self.server, &mut buffer)?;
            let cut = self.cut.lock().unwrap().take();
            match cut {
                Some(Cut::InTheReply) => (&self.client).write_all(&sent[..3])?,
                Some(Cut::Reset) => {
                    rustix::net::sockopt::set_socket_linger(&self.client, Some(Duration::ZERO))?;
                }
                Some(Cut::Stall) => thread::sleep(Duration::from_millis(300)),
                Some(_) => {}
                None if sent.len() >= PAGE && self.state.page.swap(false, SeqCst) => {
                    (&self.client).write_all(&sent[..PAGE / 2])?;
                    self.fire(Cut::InAPage);
                    return Ok(());
                }
                None => {
                    (&self.client).write_all(sent)?;
                    continue;
                }
            }
            if let Some(cut) = cut {
                self.fire(cut);
            }
            return Ok(());
        }
    }

    fn fire(&self, cut: Cut) {
        self.state.fired().push(cut);
    }

    /// Wakes the other direction as well; the sockets are closed with the last of the two.
    fn end(&self) {
        let _ = self.server.shutdown(Shutdown::Both);
        // Of a connection that is to be reset, the client hears of no orderly end.
        let reset = self.state.fired().last() == Some(&Cut::Reset);
        let how = if reset { Shutdown::Read } else { Shutdown::Both };
        let _ = self.client.shutdown(how);
    }
}

fn read<'a>(mut from: &TcpStream, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    match from.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        len => Ok(&buffer[..len]),
    }
}
