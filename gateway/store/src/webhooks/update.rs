//! The changes that users make to a webhook endpoint.

use super::{EndpointSettings, WebhookReplay, bind_settings, number};
use crate::statement::Statement;

/// A change by a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointUpdate {
    /// Other settings.
    Settings(EndpointSettings),
    /// Other secrets.
    Secrets(Vec<u8>),
    /// Messages are sent again, from the position on.
    Enable,
    /// No messages are sent.
    Disable,
    /// A second reader begins, in place of a present one.
    Replay(WebhookReplay),
    /// The second reader ends.
    EndReplay,
}

impl EndpointUpdate {
    /// The action in the audit log.
    pub(super) fn action(&self) -> &'static str {
        match self {
            Self::Settings(_) => "webhook.update",
            Self::Secrets(_) => "webhook.rotate-secret",
            Self::Enable => "webhook.enable",
            Self::Disable => "webhook.disable",
            Self::Replay(_) => "webhook.recover",
            Self::EndReplay => "webhook.recover-stop",
        }
    }

    /// Adds its columns to an UPDATE.
    pub(super) fn set(&self, sql: &mut Statement<'_>) {
        match self {
            Self::Settings(settings) => {
                sql.push(
                    ", description = ?, url = ?, types = ?, customer = ?, currency = ?, payload = ?, format = ?, \
                     rate_per_s = ?, concurrency = ?",
                );
                bind_settings(sql, settings);
            }
            Self::Secrets(secrets) => {
                sql.push(", secrets = ?").bind(secrets.clone());
            }
            Self::Enable => {
                sql.push(
                    ", state = 'active', disabled_reason = NULL, failing_since = NULL, failures = 0, warnings = 0, \
                     last_error = NULL, due_at = 0",
                );
            }
            Self::Disable => {
                sql.push(", state = 'disabled', disabled_reason = 'request'");
            }
            Self::Replay(replay) => {
                sql.push(
                    ", replay_first = ?, replay_position = ?, replay_last = ?, replay_started_at = ?, replay_acked = ?",
                );
                sql.bind(number(replay.first)).bind(number(replay.position)).bind(number(replay.last));
                sql.bind(replay.started_at.as_micros()).bind(Vec::new());
            }
            Self::EndReplay => {
                sql.push(
                    ", replay_first = NULL, replay_position = NULL, replay_last = NULL, replay_started_at = NULL, \
                     replay_acked = NULL",
                );
            }
        }
    }
}
