//! A connection to a server that is lost when it commits.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::database::postgres::{Engine, EngineAddress, Trust};

/// What is lost, together with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lose {
    /// The COMMIT: it does not take effect.
    Commit,
    /// The answer to the COMMIT, which took effect.
    Answer,
}

/// Stands between the connections and the server of a folder. Its threads end with its connections and the process.
#[derive(Debug)]
pub(super) struct Proxy {
    folder: tempfile::TempDir,
    next: Arc<Mutex<Option<Lose>>>,
}

const SOCKET: &str = ".s.PGSQL.5432";

impl Proxy {
    pub(super) fn of(server: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let next = Arc::<Mutex<Option<Lose>>>::default();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let (server, armed): (PathBuf, _) = (server.join(SOCKET), Arc::clone(&next));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (server, armed) = (UnixStream::connect(&server).unwrap(), Arc::clone(&armed));
                std::thread::spawn(move || forward(&client, &server, &armed));
            }
        });
        Self { folder, next }
    }

    /// Loses the next COMMIT of any connection, or its answer.
    pub(super) fn lose(&self, what: Lose) {
        *self.next.lock().unwrap() = Some(what);
    }

    /// The server behind it, with this schema.
    pub(super) fn engine(&self, schema: &str) -> Engine {
        let url = format!("postgres://k8s_auto_fix@/postgres?host={}", self.folder.path().display());
        Engine::new(EngineAddress::of_url(&url, None).unwrap(), Trust::in_memory(false)).with_schema(schema)
    }
}

/// Forwards until one side ends; both end with it.
fn forward(client: &UnixStream, server: &UnixStream, armed: &Mutex<Option<Lose>>) {
    let swallow = Mutex::new(false);
    let end = || {
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    };
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let (mut server, mut client) = (server, client);
            let mut bytes = vec![0; 1 << 16];
            while let Ok(count @ 1..) = server.read(&mut bytes) {
                if *swallow.lock().unwrap() || client.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            end();
        });
        let (mut server, mut client) = (server, client);
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            let sent = &bytes[..count];
            let commits = sent.windows(7).any(|window| window == b"COMMIT\0");
            match if commits { armed.lock().unwrap().take() } else { None } {
                Some(Lose::Commit) => break,
                Some(Lose::Answer) => *swallow.lock().unwrap() = true,
                None => {}
            }
            if server.write_all(sent).is_err() {
                break;
            }
        }
        end();
    });
}
