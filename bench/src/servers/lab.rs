//! The inputs of every measurement: the program, the peers, and an empty database.

use std::cell::OnceCell;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::rc::Rc;

use super::process::{command_as_user, create_owned_folder, make_traversable};
use crate::delay_proxy::ResponseDelay;

/// The inputs of every measurement. Clones share the empty database.
#[derive(Clone)]
pub(crate) struct Lab {
    /// The product's program.
    pub(crate) orders: PathBuf,
    /// The folder of the systems to compare with.
    pub(crate) peers: PathBuf,
    /// An empty data folder of MariaDB, created at its first use and copied for each start.
    empty: Rc<OnceCell<tempfile::TempDir>>,
    /// The delay of the responses that a system gets from MariaDB and Redis, if they pass a proxy.
    pub(super) response_delay: Option<ResponseDelay>,
}

impl Lab {
    pub(crate) fn new(orders: PathBuf, peers: PathBuf) -> Self {
        Self { orders, peers, empty: Rc::default(), response_delay: None }
    }

    /// Returns the same inputs for a system that reaches MariaDB and Redis through a proxy.
    pub(crate) fn with_response_delay(&self, delay: ResponseDelay) -> Self {
        Self { response_delay: Some(delay), ..self.clone() }
    }

    /// Returns an empty data folder of MariaDB.
    pub(super) fn empty_database(&self) -> io::Result<PathBuf> {
        if let Some(folder) = self.empty.get() {
            return Ok(folder.path().join("mariadb/data"));
        }
        let folder = create_temporary_folder()?;
        let data = create_owned_folder(folder.path(), "mariadb", "mysql")?.join("data");
        let install = command_as_user("mysql", "mariadb-install-db")
            .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve", "--force"])
            .args(["--auth-root-authentication-method=normal", "--innodb-log-file-size=256M"])
            .arg(format!("--datadir={}", data.display()))
            // Two concurrent installations would use the same files in /tmp.
            .arg(format!("--tmpdir={}", data.with_file_name("").display()))
            .stdin(Stdio::null())
            .output()?;
        if !install.status.success() {
            let problem = String::from_utf8_lossy(&install.stderr);
            return Err(io::Error::other(format!("mariadb-install-db failed: {problem}")));
        }
        let _ = self.empty.set(folder);
        Ok(data)
    }
}

/// Creates a temporary folder that other users can traverse.
pub(super) fn create_temporary_folder() -> io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("orders-bench.").tempdir()?;
    make_traversable(folder.path())?;
    Ok(folder)
}
