//! The credential of a processor or a command for a gateway.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::SecretString;

use crate::error::Error;
use crate::values;

/// The variable with the credential. It has no flag, because other users of the machine can read flags.
pub(crate) const TOKEN_VARIABLE: &str = "ORDERS_TOKEN";
/// Maximum number of bytes that are read of a credential's file.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// The credential for a gateway.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct TokenArgs {
    /// File with the API key for the gateway; the variable ORDERS_TOKEN contains the key itself. A processor reads it
    /// again before each connection [default: no key]
    #[arg(long, env = "ORDERS_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// Reads the credential, without the line break at its end. `None` if none is set.
    pub(crate) fn read(&self) -> Result<Option<SecretString>, Error> {
        let variable = std::env::var_os(TOKEN_VARIABLE).filter(|value| !value.is_empty());
        match (&self.token_file, variable) {
            (Some(_), Some(_)) => Err(Error::usage(format!(
                "--token-file (ORDERS_TOKEN_FILE) and {TOKEN_VARIABLE} are both set"
            ))
            .hint("remove one of them")),
            (None, None) => Ok(None),
            (Some(file), None) => read_token_file(file, "--token-file (ORDERS_TOKEN_FILE)").map(Some),
            (None, Some(value)) => {
                let value =
                    value.into_string().map_err(|_| invalid(TOKEN_VARIABLE, "it is not UTF-8".to_owned()))?;
                values::secret(&value).map(Some).map_err(|error| invalid(TOKEN_VARIABLE, error.to_string()))
            }
        }
    }
}

/// Reads a credential from a file, without the line break at its end. `setting` names the file in errors.
pub(crate) fn read_token_file(file: &Path, setting: &str) -> Result<SecretString, Error> {
    let source = format!("{setting} is {:?}", file.display().to_string());
    let content = read(file).map_err(|error| invalid(&source, format!("it cannot be read: {error}")))?;
    values::secret(&content).map_err(|error| invalid(&source, error.to_string()))
}

fn invalid(source: &str, problem: String) -> Error {
    Error::usage(format!("{source}: {problem}"))
        .hint("set it to a key that `orders keys create` printed, or remove the setting")
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut content = String::new();
    std::fs::File::open(file)?.take(MAX_FILE_BYTES).read_to_string(&mut content)?;
    Ok(content)
}
