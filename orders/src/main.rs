//! The binary: it reads the settings, composes the parts and runs them.
//!
//! | to see | read |
//! |---|---|
//! | the commands and their settings | `cli` |
//! | what a command does | `commands` |
//! | the settings and how they are applied | `cli::settings` |
//! | the names for gateways and the keys for them | `contexts` |
//! | the formats of the output of commands | `output` |
//! | how a process starts | `startup` |
//! | how secrets in files are replaced | `secret_files` |
//! | how the program ends | `signal`, `error` |
//!
//! The gateway and the processor decide about orders; this crate does not.

mod banner;
mod cli;
mod commands;
mod console;
mod contexts;
mod error;
mod log;
mod output;
mod secret_files;
mod signal;
mod startup;
mod values;

use std::process::ExitCode;

use crate::cli::Parsed;
use crate::error::Error;

/// Faster than the system's allocator with many threads, and returns unused memory to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn run() -> Result<(), Error> {
    disable_huge_pages();
    // The TLS provider of the process. An error means that one is installed already, which has the same effect.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli::parse(std::env::args_os())? {
        Parsed::Run(cli, matches, file) => commands::run(*cli, &matches, &file),
        Parsed::Printed => Ok(()),
    }
}

/// Disables huge pages for the heap.
///
/// A page of 2 MiB stays in memory while it contains one small allocation. This doubles the memory of a process and lets
/// it grow for a long time. A failure only costs memory.
fn disable_huge_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
