//! Contexts and their credentials.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gateway::access::Key;
use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;
use crate::values::{ContextName, ServerUrl};

/// Maximum number of contexts.
pub(super) const MAX_CONTEXTS: usize = 100;
/// Maximum number of bytes of a key or a token. A gateway refuses longer ones.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// All contexts of a user.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    /// The context that commands use without `--context`.
    pub(crate) current: Option<ContextName>,
    pub(crate) by_name: BTreeMap<ContextName, Context>,
}

/// A gateway and the key for it.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) url: ServerUrl,
    /// File with the authorities of the gateway, in place of those of the system.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) credential: Option<Credential>,
}

/// The credential of a context.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// An API key or a token, stored with the context.
    Token(SecretString),
    /// A file with one.
    File(PathBuf),
}

impl Credential {
    /// Returns the public id of a stored API key; `None` for a token of an issuer or a file.
    pub(crate) fn key_id(&self) -> Option<String> {
        match self {
            Self::Token(token) => Some(Key::parse(token.expose_secret()).ok()?.id().to_owned()),
            Self::File(_) => None,
        }
    }
}

impl Contexts {
    /// Returns a context. An unknown name is an error that lists the others.
    pub(crate) fn get(&self, name: &ContextName) -> Result<&Context, Error> {
        self.by_name.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.by_name.keys().map(ContextName::as_str).collect();
            let hint = match known.is_empty() {
                true => format!("no contexts are stored: `orders context set {name} --url URL` stores one"),
                false => format!("use one of: {}", known.join(", ")),
            };
            Error::not_found(format!("the context {name} does not exist")).hint(hint)
        })
    }

    /// Returns whether a key or a token is stored with a context.
    pub(super) fn has_token(&self) -> bool {
        self.by_name.values().any(|context| matches!(context.credential, Some(Credential::Token(_))))
    }
}
