//! Cancels orders, and carries out what workers and dispatch report about attempts.

use domain::transition::Command;
use domain::{LeaseToken, Order, OrderId, Outcome};
use gateway_store::CommandOutcome;

use super::answers::{self, StartOutcome};
use super::use_cases::Orders;
use crate::error::Error;

impl Orders {
    /// Cancels an order and returns it. Repeating the command returns the same result.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] when the order is completed or failed, and
    /// [`Error::Unavailable`].
    pub async fn cancel(&self, id: OrderId, reason: Option<String>) -> Result<Order, Error> {
        self.change(id, Command::Cancel { reason }).await
    }

    /// Starts attempts. The same lease returns the same order again.
    ///
    /// # Errors
    /// For all: [`Error::Unavailable`]. For one: [`Error::NotFound`] and [`Error::Refused`].
    pub async fn start_attempts(
        &self,
        leases: &[(OrderId, LeaseToken)],
    ) -> Result<Vec<Result<Order, Error>>, Error> {
        let commands = leases.iter().map(|(id, lease)| (*id, Command::start(*lease))).collect();
        self.apply(commands, answers::expect_order).await
    }

    /// Starts attempts of orders of at most `max_bytes` ([`Order::approximate_bytes`]); larger orders stay as they
    /// are. The same lease returns the same order again.
    ///
    /// # Errors
    /// As [`Self::start_attempts`].
    pub async fn start_attempts_up_to(
        &self,
        leases: &[(OrderId, LeaseToken)],
        max_bytes: usize,
    ) -> Result<Vec<Result<StartOutcome, Error>>, Error> {
        let start = |(id, lease): &(OrderId, LeaseToken)| (*id, Command::Start { lease: *lease, max_bytes });
        self.apply(leases.iter().map(start).collect(), answers::expect_started).await
    }

    /// Renews leases.
    ///
    /// # Errors
    /// As [`Self::start_attempts`].
    pub async fn heartbeat(&self, leases: &[(OrderId, LeaseToken)]) -> Result<Vec<Result<(), Error>>, Error> {
        let commands = leases.iter().map(|(id, lease)| (*id, Command::Heartbeat { lease: *lease })).collect();
        self.apply(commands, answers::expect_done).await
    }

    /// Records the outcomes of attempts. Repeating a report returns the same result.
    ///
    /// # Errors
    /// As [`Self::start_attempts`].
    pub async fn finish(
        &self,
        reports: Vec<(OrderId, LeaseToken, Outcome)>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let commands = reports
            .into_iter()
            .map(|(id, lease, outcome)| (id, Command::Finish { lease, outcome }))
            .collect();
        self.apply(commands, answers::expect_done).await
    }

    /// Ends expired leases that dispatch has found. Returns their number: another gateway may have ended one, or its
    /// worker may have renewed it.
    pub(crate) async fn expire(&self, commands: Vec<(OrderId, Command)>) -> Result<usize, Error> {
        let answers =
            self.apply(commands, |_, applied| Ok(matches!(applied, CommandOutcome::Changed { .. }))).await?;
        Ok(answers.iter().filter(|answer| matches!(answer, Ok(true))).count())
    }
}
