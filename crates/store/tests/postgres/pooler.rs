//! pgbouncer before a cluster: a real one, on a unix socket of its own, which ends with its value.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::cluster::{Cluster, OWNER, SERVER, run_as_owner};

/// Debian has it where only root's path leads.
const PROGRAMS: [&str; 2] = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];

pub(crate) struct Pooler {
    /// A folder alone, which goes with it.
    folder: Cluster,
    process: Child,
}

impl Pooler {
    /// Starts one in this mode: `session`, `transaction` or `statement`. `settings` is put beside
    /// its own.
    pub(crate) fn start(cluster: &Cluster, mode: &str, settings: &str) -> Self {
        let place = Cluster::empty();
        let folder = place.host().to_owned();
        let at = folder.display();
        let host = cluster.host().display();
        let written = format!(
            "[databases]\n* = host={host}\n[pgbouncer]\npool_mode = {mode}\nunix_socket_dir = {at}\n\
             listen_addr =\nlisten_port = 5432\nauth_type = trust\nauth_file = {at}/users\n\
             {settings}\n"
        );
        let file = folder.join("pgbouncer.ini");
        std::fs::write(&file, written).unwrap();
        let users = format!("\"{OWNER}\" \"\"\n\"{SERVER}\" \"\"\n");
        std::fs::write(folder.join("users"), users).unwrap();
        let program = PROGRAMS
            .into_iter()
            .find(|path| PathBuf::from(path).exists());
        let program = program.expect("pgbouncer is installed: scripts/setup.sh");
        let mut process = run_as_owner(program)
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        // Its socket is there before it listens.
        while UnixStream::connect(folder.join(".s.PGSQL.5432")).is_err() {
            let ended = process.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{}",
                std::fs::read_to_string(folder.join("log")).unwrap()
            );
            std::thread::yield_now();
        }
        Self {
            folder: place,
            process,
        }
    }

    /// A connection string that leads through it.
    pub(crate) fn connection(&self, user: &str, database: &str) -> String {
        let host = self.folder.host().display();
        format!("host={host} user={user} dbname={database}")
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
