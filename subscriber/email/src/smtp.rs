//! The dialogue with the SMTP server.
//!
//! Every failure before the message is sent is certain, and so is every answer of the server: see [`Failure`]. Only a
//! connection that breaks while the message is sent leaves it open whether the server has accepted it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::Response;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout};
use url::{Host, Url};

use crate::error::Error;
use crate::invalid_value::InvalidValue;

/// Maximum duration of a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum duration of the message until the server has accepted it.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(120);
/// A connection that was not used for this long is replaced.
const MAX_IDLE: Duration = Duration::from_secs(15);
/// The code of a server that closes the connection.
const CLOSING: u16 = 421;

/// The address of an SMTP server: `smtp://user:password@host:587`, or `smtps://` for TLS from the beginning.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpUrl {
    host: String,
    port: u16,
    encryption: Encryption,
    credentials: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    /// TLS from the beginning.
    Tls,
    /// STARTTLS, which the server must offer.
    StartTls,
    None,
}

impl FromStr for SmtpUrl {
    type Err = InvalidValue;

    /// `smtp://` requires STARTTLS, unless the host is a loopback address or the URL has `?tls=none`.
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const HINT: &str = "use smtp://user:password@host:587 (STARTTLS), smtps://… (TLS) or smtp://host:25?tls=none; \
                            percent-encode special characters of the password";
        let invalid = |problem: &str| InvalidValue::new(problem, HINT);
        let url = Url::parse(text).map_err(|_| invalid("it is not a URL"))?;
        let host =
            url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| invalid("the host is missing"))?;
        let is_loopback = match Host::parse(host) {
            Ok(Host::Ipv4(ip)) => ip.is_loopback(),
            Ok(Host::Ipv6(ip)) => ip.is_loopback(),
            Ok(Host::Domain(name)) => {
                name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
            Err(_) => return Err(invalid("the host is not usable")),
        };
        let (encryption, port) = match (url.scheme(), url.query()) {
            ("smtps", None) => (Encryption::Tls, 465),
            ("smtp", None) if is_loopback => (Encryption::None, 25),
            ("smtp", Some("tls=required") | None) => (Encryption::StartTls, 587),
            ("smtp", Some("tls=none")) => (Encryption::None, 25),
            ("smtp" | "smtps", Some(_)) => return Err(invalid("it has an unknown parameter")),
            _ => return Err(invalid("it does not start with smtp:// or smtps://")),
        };
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(invalid("it has more than a host and a port"));
        }
        let decoded = |part: &str| {
            let decoded = percent_decoded(part).ok_or_else(|| invalid("a percent code is invalid"))?;
            if decoded.contains(char::is_control) {
                return Err(invalid("it has control characters"));
            }
            Ok(decoded)
        };
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, Some(password)) if !user.is_empty() => Some((decoded(user)?, decoded(password)?)),
            _ => return Err(invalid("it has only one of user and password")),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port: url.port().unwrap_or(port), encryption, credentials })
    }
}

fn percent_decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Without the password.
impl fmt::Display for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encryption == Encryption::Tls { "smtps" } else { "smtp" };
        let user = if self.credentials.is_some() { "***@" } else { "" };
        write!(f, "{scheme}://{user}{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a mail was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server cannot be used at present, for any mail.
    Server(String),
    /// The server refuses this mail for now.
    Deferred(String),
    /// The server refuses this mail permanently.
    Rejected(String),
    /// The connection broke while the message was sent: the server may have accepted it.
    Unknown(String),
}

/// The client of a server. It has one connection, which it keeps for the next mail.
pub(crate) struct Client {
    server: Server,
    name: ClientId,
    idle: Option<(AsyncSmtpConnection, Instant)>,
}

struct Server {
    host: String,
    port: u16,
    encryption: Encryption,
    tls: Option<TlsParameters>,
    credentials: Option<(String, SecretString)>,
}

/// A mail whose recipients the server has accepted.
pub(crate) struct Prepared {
    connection: AsyncSmtpConnection,
    /// The recipients that the server has refused permanently, with its answer.
    pub(crate) rejected: Vec<(Address, String)>,
}

impl Server {
    fn new(url: &SmtpUrl) -> Result<Self, Error> {
        let SmtpUrl { host, port, encryption, credentials } = url.clone();
        let tls = match encryption {
            Encryption::None => None,
            Encryption::Tls | Encryption::StartTls => {
                let built = TlsParameters::builder(host.clone()).build_rustls();
                Some(built.map_err(|error| Error::Tls(connection::format_causes(&error)))?)
            }
        };
        let credentials = credentials.map(|(user, password)| (user, SecretString::from(password)));
        Ok(Self { host, port, encryption, tls, credentials })
    }

    async fn connect(&self, name: &ClientId) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
        let from_start = self.tls.clone().filter(|_| self.encryption == Encryption::Tls);
        let server = (self.host.as_str(), self.port);
        let connecting =
            AsyncSmtpConnection::connect_tokio1(server, Some(COMMAND_TIMEOUT), name, from_start, None);
        let mut connection = connecting.await?;
        if let Some(tls) = self.tls.clone().filter(|_| self.encryption == Encryption::StartTls) {
            connection.starttls(tls, name).await?;
        }
        if let Some((user, password)) = &self.credentials {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            connection.auth(DEFAULT_MECHANISMS, &credentials).await?;
        }
        Ok(connection)
    }
}

impl Client {
    /// Creates the client, without a connection. `domain` is that of the sender.
    pub(crate) fn new(url: &SmtpUrl, domain: &str) -> Result<Self, Error> {
        Ok(Self { server: Server::new(url)?, name: ClientId::Domain(domain.to_owned()), idle: None })
    }

    /// Uses another server from the next mail on.
    pub(crate) fn replace(&mut self, url: &SmtpUrl) -> Result<(), Error> {
        (self.server, self.idle) = (Server::new(url)?, None);
        Ok(())
    }

    /// Announces a mail to the server: the sender and the recipients. Nothing is sent yet.
    pub(crate) async fn prepare(&mut self, from: &Address, to: &[Address]) -> Result<Prepared, Failure> {
        // The server may have closed a connection that was idle, and then the first command fails.
        if let Some((connection, used_at)) = self.idle.take()
            && used_at.elapsed() < MAX_IDLE
        {
            match announce(connection, from, to).await {
                Err(Failure::Server(_)) => {}
                other => return other,
            }
        }
        let connecting = timeout(COMMAND_TIMEOUT, self.server.connect(&self.name)).await;
        let connection = match connecting {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(Failure::Server(connection::format_causes(&error))),
            Err(_) => return Err(Failure::Server(format!("no answer within {COMMAND_TIMEOUT:?}"))),
        };
        announce(connection, from, to).await
    }

    /// Sends the message of a prepared mail.
    pub(crate) async fn send(&mut self, prepared: Prepared, message: &[u8]) -> Result<(), Failure> {
        let Prepared { mut connection, .. } = prepared;
        command(connection.command(Data)).await.map_err(Failed::of_mail)?;
        match timeout(MESSAGE_TIMEOUT, connection.message(message)).await {
            Ok(Ok(_accepted)) => {
                self.idle = Some((connection, Instant::now()));
                Ok(())
            }
            Ok(Err(error)) => Err(match Failed::from(&error) {
                Failed::NoAnswer(cause) => Failure::Unknown(cause),
                answered => answered.of_mail(),
            }),
            Err(_) => Err(Failure::Unknown(format!("no answer within {MESSAGE_TIMEOUT:?}"))),
        }
    }
}

/// Sends the sender and the recipients. A connection that is not returned is closed.
async fn announce(
    mut connection: AsyncSmtpConnection,
    from: &Address,
    to: &[Address],
) -> Result<Prepared, Failure> {
    let has_utf8 = connection.server_info().supports_feature(Extension::SmtpUtfEight);
    let needs_utf8 = |address: &Address| !AsRef::<str>::as_ref(address).is_ascii();
    let options = match has_utf8 && to.iter().chain([from]).any(needs_utf8) {
        true => vec![MailParameter::SmtpUtfEight],
        false => vec![],
    };
    // A refused sender concerns every mail.
    command(connection.command(Mail::new(Some(from.clone()), options))).await.map_err(Failed::of_server)?;
    let mut rejected = Vec::new();
    for address in to {
        if needs_utf8(address) && !has_utf8 {
            rejected.push((address.clone(), "the server does not support SMTPUTF8".to_owned()));
            continue;
        }
        match command(connection.command(Rcpt::new(address.clone(), vec![]))).await.map_err(Failed::of_mail) {
            Ok(_) => {}
            Err(Failure::Rejected(answer)) => rejected.push((address.clone(), answer)),
            Err(failure) => return Err(failure),
        }
    }
    if rejected.len() == to.len() {
        let answers: Vec<&str> = rejected.iter().map(|(_, answer)| answer.as_str()).collect();
        return Err(Failure::Rejected(answers.join("; ")));
    }
    Ok(Prepared { connection, rejected })
}

/// A failed command.
enum Failed {
    Answer(u16, String),
    NoAnswer(String),
}

impl From<&lettre::transport::smtp::Error> for Failed {
    fn from(error: &lettre::transport::smtp::Error) -> Self {
        let cause = connection::format_causes(error);
        match error.status() {
            Some(code) => Self::Answer(code.into(), cause),
            None => Self::NoAnswer(cause),
        }
    }
}

impl Failed {
    /// The failure of a command that concerns one mail.
    fn of_mail(self) -> Failure {
        match self {
            Self::Answer(CLOSING, cause) | Self::NoAnswer(cause) => Failure::Server(cause),
            Self::Answer(code, cause) if code >= 500 => Failure::Rejected(cause),
            Self::Answer(_, cause) => Failure::Deferred(cause),
        }
    }

    /// The failure of a command that concerns every mail.
    fn of_server(self) -> Failure {
        match self {
            Self::Answer(_, cause) | Self::NoAnswer(cause) => Failure::Server(cause),
        }
    }
}

async fn command(
    answer: impl Future<Output = Result<Response, lettre::transport::smtp::Error>>,
) -> Result<Response, Failed> {
    match timeout(COMMAND_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| Failed::from(&error)),
        Err(_) => Err(Failed::NoAnswer(format!("no answer within {COMMAND_TIMEOUT:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_state_the_encryption() {
        for (url, shown, encryption) in [
            ("smtp://mail.example.com", "smtp://mail.example.com:587", Encryption::StartTls),
            ("smtp://ann:h%40sh@mail.example.com:25", "smtp://***@mail.example.com:25", Encryption::StartTls),
            ("smtps://mail.example.com", "smtps://mail.example.com:465", Encryption::Tls),
            ("smtp://mail.example.com?tls=none", "smtp://mail.example.com:25", Encryption::None),
            ("smtp://127.0.0.1:1025", "smtp://127.0.0.1:1025", Encryption::None),
            ("smtp://[::1]:1025", "smtp://::1:1025", Encryption::None),
            ("smtp://localhost:1025?tls=required", "smtp://localhost:1025", Encryption::StartTls),
        ] {
            let parsed: SmtpUrl = url.parse().unwrap();
            assert_eq!((format!("{parsed:?}").as_str(), parsed.encryption), (shown, encryption), "{url}");
        }
        let with_password: SmtpUrl = "smtp://ann:h%40sh@mail.example.com".parse().unwrap();
        assert_eq!(with_password.credentials, Some(("ann".to_owned(), "h@sh".to_owned())));
    }

    #[test]
    fn invalid_urls_are_errors_without_the_password() {
        for url in [
            "mail.example.com",
            "http://mail.example.com",
            "smtp://",
            "smtp://mail.example.com/x",
            "smtp://mail.example.com?tls=maybe",
            "smtps://mail.example.com?tls=none",
            "smtp://hush@mail.example.com",
            "smtp://ann:hush%0d%0aRSET@mail.example.com",
            "smtp://ann:hush%zz@mail.example.com",
        ] {
            let error = url.parse::<SmtpUrl>().unwrap_err();
            assert!(!error.to_string().contains("hush"), "{url}: {error}");
        }
    }

    #[test]
    fn answers_are_certain() {
        let answer = |code| Failed::Answer(code, String::new());
        assert_eq!(answer(421).of_mail(), Failure::Server(String::new()));
        assert_eq!(answer(451).of_mail(), Failure::Deferred(String::new()));
        assert_eq!(answer(550).of_mail(), Failure::Rejected(String::new()));
        assert_eq!(answer(550).of_server(), Failure::Server(String::new()));
    }
}
