//! Files with secrets, which are read again on change and on SIGHUP.
//!
//! A content that cannot be used changes nothing and is logged with the name of its setting, never with the content. It is
//! tried again with the next reading, because a secret may be written before its server accepts it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tls::{RELOAD_INTERVAL, keep_current};
use tokio::sync::watch;

use crate::values::InFile;

/// The files of a process, each with what happens to a changed value.
#[derive(Default)]
pub(crate) struct SecretFiles(Vec<Box<dyn Fn() + Send + Sync>>);

impl SecretFiles {
    /// Adds a file. `apply` gets each changed value on a thread that it may block.
    pub(crate) fn add<T: Send + 'static, E: fmt::Display>(
        &mut self,
        setting: &'static str,
        file: InFile<T>,
        apply: impl Fn(&T) -> Result<(), E> + Send + Sync + 'static,
    ) {
        self.watch(setting, file, InFile::read_again, move |changed| apply(&changed.value));
    }

    /// Adds files that `read` reads together.
    pub(crate) fn add_together<T: PartialEq + Send + 'static, R: fmt::Display, E: fmt::Display>(
        &mut self,
        settings: &'static str,
        present: T,
        read: impl Fn() -> Result<T, R> + Send + Sync + 'static,
        apply: impl Fn(&T) -> Result<(), E> + Send + Sync + 'static,
    ) {
        let changed = move |present: &T| read().map(|again| (again != *present).then_some(again));
        self.watch(settings, present, changed, apply);
    }

    /// Calls `apply` with each value that `changed` reads. What cannot be used is read again later.
    fn watch<T: Send + 'static, R: fmt::Display, E: fmt::Display>(
        &mut self,
        setting: &'static str,
        present: T,
        changed: impl Fn(&T) -> Result<Option<T>, R> + Send + Sync + 'static,
        apply: impl Fn(&T) -> Result<(), E> + Send + Sync + 'static,
    ) {
        let current = Mutex::new(present);
        self.0.push(Box::new(move || {
            let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
            let applied = match changed(&current) {
                Ok(None) => return,
                Ok(Some(changed)) => apply(&changed).map(|()| changed).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match applied {
                Ok(changed) => {
                    *current = changed;
                    tracing::info!(setting, "the changed secret is in use");
                }
                Err(error) => {
                    tracing::warn!(
                        setting,
                        error,
                        "failed to use a changed secret, the previous one stays in use"
                    );
                }
            }
        }));
    }

    /// Returns whether no file was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the files again when they change and for each request, until the program ends.
    ///
    /// The requests are those since `requests` was created.
    pub(crate) fn keep_current(self, requests: watch::Receiver<()>) {
        if !self.is_empty() {
            tokio::spawn(keep_current(RELOAD_INTERVAL, requests, move || {
                self.0.iter().for_each(|file| file())
            }));
        }
    }
}
