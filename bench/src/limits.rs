//! The parts of a pipeline, each alone at its maximum speed. A part that needs another server starts this program again
//! as that server, so that its CPU time is measured separately.

pub(crate) mod http;
mod limit;
pub(crate) mod queue;
pub(crate) mod sql;
pub(crate) mod stream;

use std::io;
use std::net::SocketAddr;

pub(crate) use self::limit::Limit;

/// The servers of the limits; each is this program in another role.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Role {
    /// Parses JSON and responds with 201
    Http { addr: SocketAddr },
    /// Acknowledges reports on a gRPC stream
    Stream { addr: SocketAddr },
}

/// Runs the server of a limit until the process ends.
pub(crate) fn serve(role: &Role) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        Role::Http { addr } => runtime.block_on(http::serve(*addr)),
        Role::Stream { addr } => runtime.block_on(stream::serve(*addr)),
    }
}
