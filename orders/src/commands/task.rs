//! The result of a task that this process cannot run without.

use std::fmt::Display;

use tokio::task::JoinError;

use crate::error::Error;

/// Returns the result of a task; `name` names it in the error.
pub(super) fn task_result<E: Display>(
    name: &str,
    result: Result<Result<(), E>, JoinError>,
) -> Result<(), Error> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Error::failed(format!("the {name} ended: {error}"))),
        Err(error) => {
            Err(Error::failed(format!("the {name} ended: {error}")).hint("this is a bug; see the log above"))
        }
    }
}
