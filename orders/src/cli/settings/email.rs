//! E-mail for events.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use subscriber::{EventTypes, OnExpired, Start};
use subscriber_email::{EmailHandler, READER, Sender, SmtpUrl, Staff};

use super::process::ProcessArgs;
use crate::error::Error;
use crate::secret_files::SecretFiles;
use crate::values::{self, InFile};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The lease of the reader.
const LEASE: Duration = Duration::from_secs(10);

/// Which e-mails are sent, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "E-mail")]
pub(crate) struct EmailArgs {
    /// SMTP server: smtp://user:password@host:587 with STARTTLS, smtps://… with TLS, or smtp://host:25?tls=none; without
    /// TLS also on a loopback address [default: no e-mail]
    #[arg(long, env = "ORDERS_SMTP_URL", hide_env_values = true, value_name = "URL", value_parser = values::smtp_url)]
    pub(crate) smtp_url: Option<SmtpUrl>,
    /// File with the URL of the SMTP server, in place of --smtp-url. Read again on change and on SIGHUP
    #[arg(
        long,
        env = "ORDERS_SMTP_URL_FILE",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = values::in_file(values::smtp_url),
        conflicts_with = "smtp_url"
    )]
    pub(crate) smtp_url_file: Option<InFile<SmtpUrl>>,
    /// Sender of every e-mail, such as 'Shop <shop@example.com>'; required for e-mail
    #[arg(
        long,
        env = "ORDERS_EMAIL_FROM",
        hide_env_values = true,
        value_name = "ADDRESS",
        value_parser = values::sender
    )]
    pub(crate) email_from: Option<Sender>,
    /// Types of events, separated by commas, for which the customer of the order gets an e-mail, if the customer is an
    /// address: order.created, order.processing, order.retrying, order.completed, order.failed, order.cancelled,
    /// order.redriven [default: none]
    #[arg(
        long,
        env = "ORDERS_EMAIL_CUSTOMER",
        hide_env_values = true,
        value_name = "TYPES",
        value_parser = values::event_types
    )]
    pub(crate) email_customer: Option<EventTypes>,
    /// Fixed recipient and its types, such as ops@example.com=order.failed,order.cancelled; repeat the flag or separate
    /// several with semicolons
    #[arg(
        long,
        env = "ORDERS_EMAIL_STAFF",
        hide_env_values = true,
        value_name = "ADDRESS=TYPES",
        value_delimiter = ';',
        value_parser = values::staff
    )]
    pub(crate) email_staff: Vec<Staff>,
    /// Folder with the templates, which `orders email templates` creates; read at start [default: the built-in ones]
    #[arg(long, env = "ORDERS_EMAIL_TEMPLATES", hide_env_values = true, value_name = "FOLDER")]
    pub(crate) email_templates: Option<PathBuf>,
    /// Time for which an e-mail is repeated that the server refuses temporarily (4xx); then it is given up: 0 to 1d. A
    /// server that cannot be reached is tried without end
    #[arg(
        long,
        env = "ORDERS_EMAIL_REFUSAL_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, DAY),
        default_value = "1h"
    )]
    pub(crate) email_refusal_timeout: Duration,
}

impl EmailArgs {
    /// Returns the SMTP server, if e-mail is on.
    pub(crate) fn server(&self) -> Option<&SmtpUrl> {
        self.smtp_url.as_ref().or(self.smtp_url_file.as_ref().map(|file| &file.value))
    }

    /// Creates the handler, and adds the file with the URL to `files`. `None` without an SMTP server.
    pub(crate) fn handler(&self, files: &mut SecretFiles) -> Result<Option<Arc<EmailHandler>>, Error> {
        let Some(server) = self.server() else { return Ok(None) };
        let sender = self.email_from.clone().ok_or_else(|| {
            Error::usage("--email-from (ORDERS_EMAIL_FROM) is not set")
                .hint("give the address of the sender, such as 'Shop <shop@example.com>'")
        })?;
        let handler = EmailHandler::new(subscriber_email::Config {
            server: server.clone(),
            sender,
            customer: self.email_customer,
            staff: self.email_staff.clone(),
            templates: self.email_templates.clone(),
            refusal_timeout: self.email_refusal_timeout,
        });
        let handler = Arc::new(handler.map_err(|error| {
            Error::usage(format!("e-mail cannot be sent: {error}"))
                .hint("the settings are --email-customer, --email-staff and --email-templates")
        })?);
        if let Some(file) = &self.smtp_url_file {
            let handler = handler.clone();
            files.add("--smtp-url-file (ORDERS_SMTP_URL_FILE)", file.clone(), move |server| {
                handler.replace_server(server);
                Ok::<(), Error>(())
            });
        }
        Ok(Some(handler))
    }

    /// Returns the configuration of the subscriber.
    pub(crate) fn config(
        &self,
        handler: &EmailHandler,
        gateway_urls: Vec<String>,
        process: &ProcessArgs,
    ) -> subscriber::Config {
        subscriber::Config {
            gateway_urls,
            types: handler.types(),
            // Old events are no news, and missing ones cannot be sent any more.
            start: Start::End,
            on_expired: OnExpired::ContinueAtOldest,
            // Another process continues this long after a crash.
            lease: LEASE,
            shutdown_timeout: process.shutdown_timeout,
            ..subscriber::Config::new(READER)
        }
    }
}
