//! The gateway of a command: that of its flags, of a context, or the default one.

use reqwest::Url;
use secrecy::SecretString;

use super::http_client::{Authorities, Trust};
use crate::cli::{ApiArgs, CaArgs, read_token_file};
use crate::contexts::{self, Context, Credential};
use crate::error::Error;
use crate::values::{ContextName, redacted};

/// The address without settings: `orders dev` on this machine.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:3000";

/// The gateway of a command.
pub(super) struct Target {
    pub(super) url: Url,
    pub(super) trust: Trust,
    pub(super) token: Option<SecretString>,
    /// The context of the URL.
    context: Option<ContextName>,
    /// Whether the key is that of the context, which can have none.
    uses_key_of_context: bool,
}

impl Target {
    /// Determines the gateway. With `--url` no context is used, because its key is only for its gateway. Otherwise
    /// `--ca`, `--token-file` and `ORDERS_TOKEN` precede those of the context.
    pub(super) fn of(args: &ApiArgs) -> Result<Self, Error> {
        let given_token = args.token.read()?;
        let selected = match &args.address.url {
            Some(_) => None,
            None => contexts::select(args.address.context.as_ref())?,
        };
        let Some((name, context)) = selected else {
            let url = match &args.address.url {
                Some(url) => url.expose_secret().clone(),
                None => default_url()?,
            };
            let trust = Trust::from(&args.ca);
            return Ok(Self { url, trust, token: given_token, context: None, uses_key_of_context: false });
        };
        let uses_key_of_context = given_token.is_none();
        let token = match given_token {
            Some(token) => Some(token),
            None => token_of(&name, &context)?,
        };
        let url = context.url.expose_secret().clone();
        let trust = trust_of(&name, context, &args.ca);
        Ok(Self { url, trust, token, context: Some(name), uses_key_of_context })
    }

    /// Returns the URL and its context, for messages.
    pub(super) fn shown(&self) -> String {
        match &self.context {
            Some(name) => format!("{} (context {name})", redacted(&self.url)),
            None => redacted(&self.url),
        }
    }

    /// Returns what a user can do about a missing or invalid key.
    pub(super) fn key_hint(&self) -> String {
        match &self.context {
            Some(name) if self.uses_key_of_context => format!(
                "store a key that `orders keys create` printed: orders context set {name} --token-stdin < FILE"
            ),
            Some(name) => format!(
                "the key is that of ORDERS_TOKEN or --token-file: remove it to use that of the context {name}"
            ),
            None => "set ORDERS_TOKEN or --token-file to a key that `orders keys create` printed, or use --context \
                     in place of --url"
                .to_owned(),
        }
    }
}

/// Returns the URL of a context and the authorities for it, without its key.
pub(super) fn of_context(name: &ContextName, ca: &CaArgs) -> Result<(Url, Trust), Error> {
    let context = contexts::named(name)?;
    Ok((context.url.expose_secret().clone(), trust_of(name, context, ca)))
}

fn trust_of(name: &ContextName, context: Context, given: &CaArgs) -> Trust {
    match (&given.ca, context.ca) {
        (None, Some(file)) => {
            Trust::Authorities(Authorities { file, source: format!("the authorities of the context {name}") })
        }
        (Some(_), _) | (None, None) => Trust::from(given),
    }
}

fn default_url() -> Result<Url, Error> {
    Url::parse(DEFAULT_URL).map_err(|error| Error::failed(format!("{DEFAULT_URL} is not a URL: {error}")))
}

/// Returns the URL of a path of a gateway, which can be below a path of a proxy.
pub(super) fn below(gateway: &Url, path: &str) -> Url {
    let mut url = gateway.clone();
    url.set_path(&format!("{}{path}", gateway.path().trim_end_matches('/')));
    url
}

/// Reads the key of a context.
fn token_of(name: &ContextName, context: &Context) -> Result<Option<SecretString>, Error> {
    match &context.credential {
        None => Ok(None),
        Some(Credential::Token(token)) => Ok(Some(token.clone())),
        Some(Credential::File(file)) => {
            read_token_file(file, &format!("the file with the key of the context {name}")).map(Some)
        }
    }
}
