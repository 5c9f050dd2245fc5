//! Decides whether a failure is that of the endpoint or that of one message.
//!
//! An endpoint that cannot be reached, or that requests a pause, fails as a whole: nothing else is sent, and one message from
//! time to time probes it. The same follows after messages of [`DISTINCT_FAILURES`] different orders have failed without a
//! success. Any other failure is that of its message, which is sent again later while the others continue.
//!
//! A message that takes the endpoint down each time, such as one that crashes the receiver, must not stop the others: when it
//! does so again after a success, it counts as a failure of the message.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use domain::{DisabledReason, EndpointState, OrderId, Timestamp};
use gateway_store::WebhookHealth;
use webhook::OutcomeKind;

use super::schedule;

/// The number of different orders whose messages fail one after the other until the endpoint counts as failing.
const DISTINCT_FAILURES: usize = 10;
/// The time without a success after which an endpoint is disabled.
const DISABLE_AFTER: Duration = Duration::from_secs(5 * 24 * 60 * 60);
/// The times without a success after which the user is warned.
const WARN_AFTER: [Duration; 2] = [Duration::from_secs(24 * 60 * 60), Duration::from_secs(4 * 24 * 60 * 60)];
/// Maximum number of orders that are remembered because their message took the endpoint down.
const MAX_SUSPECTS: usize = 1_000;

/// What follows from an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The message was delivered.
    Delivered,
    /// The message is sent again later, and the others continue.
    RetryMessage,
    /// The endpoint is failing: the message keeps its place.
    EndpointFailing,
    /// The endpoint is disabled.
    Disabled(DisabledReason),
}

/// The health of an endpoint.
#[derive(Debug)]
pub(super) struct Health {
    stored: WebhookHealth,
    /// The orders whose messages have failed since the last success, at most [`DISTINCT_FAILURES`].
    failed: HashSet<OrderId>,
    /// The orders whose message made the endpoint failing, and whether something was delivered since.
    suspects: HashMap<OrderId, bool>,
}

impl Health {
    pub(super) fn new(stored: WebhookHealth) -> Self {
        Self { stored, failed: HashSet::new(), suspects: HashMap::new() }
    }

    pub(super) fn stored(&self) -> &WebhookHealth {
        &self.stored
    }

    pub(super) fn is_failing(&self) -> bool {
        self.stored.state == EndpointState::Failing
    }

    pub(super) fn is_disabled(&self) -> bool {
        self.stored.state == EndpointState::Disabled
    }

    /// Returns whether an order was tried since the last success, so that a probe should try another one.
    pub(super) fn has_failed(&self, order: &OrderId) -> bool {
        self.failed.contains(order)
    }

    /// Forgets which orders were tried, after a probe had no other one.
    pub(super) fn try_all_again(&mut self) {
        self.failed.clear();
    }

    /// Takes the outcome of a message; `order` is `None` for a notice.
    pub(super) fn outcome(
        &mut self,
        order: Option<OrderId>,
        kind: OutcomeKind,
        retry_after: Option<Duration>,
        error: String,
        now: Timestamp,
    ) -> Verdict {
        if kind == OutcomeKind::Delivered {
            self.success(order);
            return Verdict::Delivered;
        }
        let since = *self.stored.failing_since.get_or_insert(now);
        self.stored.last_error = Some(error);
        if kind == OutcomeKind::Gone {
            return self.disable(DisabledReason::Gone);
        }
        if now.since(since) >= DISABLE_AFTER {
            return self.disable(DisabledReason::Failures);
        }
        if let Some(order) = order
            && self.failed.len() < DISTINCT_FAILURES
        {
            self.failed.insert(order);
        }
        let is_of_endpoint = match kind {
            OutcomeKind::Unreachable | OutcomeKind::Refused => true,
            OutcomeKind::Throttled => retry_after.is_some_and(|pause| !pause.is_zero()),
            _ => false,
        };
        let is_repeated = order.is_some_and(|order| self.suspects.get(&order) == Some(&true));
        if self.is_failing() {
            if now < self.stored.due_at {
                // It was sent before the endpoint counted as failing, and is no probe.
                return Verdict::EndpointFailing;
            }
            self.stored.failures = self.stored.failures.saturating_add(1);
        } else if self.failed.len() >= DISTINCT_FAILURES || (is_of_endpoint && !is_repeated) {
            self.stored.state = EndpointState::Failing;
            self.stored.failures = 0;
            if let Some(order) = order
                && self.suspects.len() < MAX_SUSPECTS
            {
                self.suspects.insert(order, false);
            }
        } else {
            return Verdict::RetryMessage;
        }
        self.stored.due_at = now + schedule::before_probe(self.stored.failures, retry_after);
        Verdict::EndpointFailing
    }

    /// Returns the number of the warning that is due, and counts it as sent.
    pub(super) fn take_warning(&mut self, now: Timestamp) -> Option<u32> {
        let since = self.stored.failing_since?;
        let due = WARN_AFTER.iter().filter(|after| now.since(since) >= **after).count();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        let is_new = due > self.stored.warnings;
        self.stored.warnings = self.stored.warnings.max(due);
        is_new.then_some(due)
    }

    fn success(&mut self, order: Option<OrderId>) {
        self.failed.clear();
        for has_succeeded in self.suspects.values_mut() {
            *has_succeeded = true;
        }
        if let Some(order) = order {
            self.suspects.remove(&order);
        }
        self.stored = WebhookHealth {
            state: EndpointState::Active,
            disabled_reason: None,
            failing_since: None,
            failures: 0,
            warnings: 0,
            last_error: None,
            due_at: Timestamp::from_micros(0),
        };
    }

    fn disable(&mut self, reason: DisabledReason) -> Verdict {
        self.stored.state = EndpointState::Disabled;
        self.stored.disabled_reason = Some(reason);
        Verdict::Disabled(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000)
    }

    fn order(n: u8) -> OrderId {
        OrderId::from_bytes([n; 16])
    }

    fn healthy() -> Health {
        let mut health = Health::new(WebhookHealth {
            state: EndpointState::Failing,
            disabled_reason: None,
            failing_since: None,
            failures: 3,
            warnings: 1,
            last_error: None,
            due_at: start(),
        });
        assert_eq!(take(&mut health, 0, OutcomeKind::Delivered), Verdict::Delivered);
        assert_eq!(health.stored().state, EndpointState::Active);
        health
    }

    fn take(health: &mut Health, n: u8, kind: OutcomeKind) -> Verdict {
        take_at(health, n, kind, None, start())
    }

    fn take_at(
        health: &mut Health,
        n: u8,
        kind: OutcomeKind,
        retry_after: Option<Duration>,
        now: Timestamp,
    ) -> Verdict {
        health.outcome(Some(order(n)), kind, retry_after, "it failed".to_owned(), now)
    }

    #[test]
    fn one_order_that_fails_does_not_stop_the_others() {
        for kind in [OutcomeKind::Rejected, OutcomeKind::Failed, OutcomeKind::Timeout, OutcomeKind::Throttled]
        {
            let mut health = healthy();
            for _ in 0..20 {
                assert_eq!(take(&mut health, 1, kind), Verdict::RetryMessage, "{kind:?}");
                assert_eq!(take(&mut health, 2, OutcomeKind::Delivered), Verdict::Delivered);
            }
            assert!(!health.is_failing());
        }
    }

    #[test]
    fn ten_orders_that_fail_in_a_row_are_a_failing_endpoint() {
        let mut health = healthy();
        for n in 1..10 {
            assert_eq!(take(&mut health, n, OutcomeKind::Rejected), Verdict::RetryMessage);
            assert_eq!(take(&mut health, n, OutcomeKind::Rejected), Verdict::RetryMessage);
        }
        assert_eq!(take(&mut health, 10, OutcomeKind::Failed), Verdict::EndpointFailing);
        assert_eq!(health.stored().failing_since, Some(start()));
        // Those in flight are no probes.
        assert_eq!(take(&mut health, 11, OutcomeKind::Failed), Verdict::EndpointFailing);
        assert_eq!(health.stored().failures, 0);
        let probe = health.stored().due_at;
        assert_eq!(take_at(&mut health, 11, OutcomeKind::Failed, None, probe), Verdict::EndpointFailing);
        assert_eq!(health.stored().failures, 1);
        assert!(health.stored().due_at > probe);
        assert_eq!(take(&mut health, 12, OutcomeKind::Delivered), Verdict::Delivered);
        assert_eq!(health.stored(), healthy().stored());
    }

    #[test]
    fn an_endpoint_that_is_absent_or_requests_a_pause_is_failing_at_once() {
        for kind in [OutcomeKind::Unreachable, OutcomeKind::Refused] {
            assert_eq!(take(&mut healthy(), 1, kind), Verdict::EndpointFailing);
        }
        let (mut health, pause) = (healthy(), Duration::from_secs(100));
        let verdict = take_at(&mut health, 1, OutcomeKind::Throttled, Some(pause), start());
        assert_eq!((verdict, health.stored().due_at), (Verdict::EndpointFailing, start() + pause));
    }

    /// Such as an event whose content crashes the receiver.
    #[test]
    fn a_message_that_takes_the_endpoint_down_again_is_the_cause() {
        let mut health = healthy();
        assert_eq!(take(&mut health, 1, OutcomeKind::Unreachable), Verdict::EndpointFailing);
        assert!(health.has_failed(&order(1)) && !health.has_failed(&order(2)));
        assert_eq!(take(&mut health, 2, OutcomeKind::Delivered), Verdict::Delivered);
        assert_eq!(take(&mut health, 1, OutcomeKind::Unreachable), Verdict::RetryMessage);
        assert_eq!(take(&mut health, 3, OutcomeKind::Unreachable), Verdict::EndpointFailing);
    }

    #[test]
    fn an_endpoint_is_disabled_after_410_or_five_days() {
        let mut health = healthy();
        let gone = Verdict::Disabled(DisabledReason::Gone);
        assert_eq!(take(&mut health, 1, OutcomeKind::Gone), gone);
        assert!(health.is_disabled());
        let mut health = healthy();
        let day = Duration::from_secs(24 * 60 * 60);
        let fail = |health: &mut Health, days| {
            let now = start() + day * days;
            let verdict = take_at(health, 1, OutcomeKind::Failed, None, now);
            (verdict, health.take_warning(now))
        };
        assert_eq!(fail(&mut health, 0), (Verdict::RetryMessage, None));
        assert_eq!(fail(&mut health, 1), (Verdict::RetryMessage, Some(1)));
        assert_eq!(fail(&mut health, 2), (Verdict::RetryMessage, None));
        assert_eq!(fail(&mut health, 4), (Verdict::RetryMessage, Some(2)));
        assert_eq!(fail(&mut health, 5).0, Verdict::Disabled(DisabledReason::Failures));
        limits_page::row(
            "failures of a webhook endpoint until warnings; until it is disabled",
            "1 day and 4 days; 5 days",
        );
    }
}
