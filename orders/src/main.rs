//! The one binary: it reads the settings, puts the parts together and runs them.
//!
//! | to see | read |
//! |---|---|
//! | the commands and their settings | `cli` |
//! | what a command does | `commands` |
//! | how settings become configurations | `settings` |
//! | how the program ends | `signal`, `error` |
//!
//! Nothing is decided about orders here; that is the gateway's and the processor's business.

mod banner;
mod cli;
mod commands;
mod console;
mod error;
mod log;
mod signal;
mod startup;
mod values;

use std::process::ExitCode;

use crate::cli::Parsed;
use crate::error::Error;

/// Faster than the system's with many threads, and gives back what it no longer needs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn run() -> Result<(), Error> {
    spare_memory();
    // TLS has one implementation in this program. Whoever installed one before us is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli::parse(std::env::args_os())? {
        Parsed::Run(cli, matches) => commands::run(*cli, &matches),
        Parsed::Printed => Ok(()),
    }
}

/// Keeps the heap out of pages of 2 MiB, of which each stays whole as long as one small thing is left in it.
/// That doubles what a process holds, and makes it grow for a long time. It works without, too.
fn spare_memory() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
