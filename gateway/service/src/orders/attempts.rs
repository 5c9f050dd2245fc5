//! Cancels orders, and carries out what workers and dispatch report about attempts.

use domain::transition::Command;
use domain::{JsonText, LeaseToken, Order, OrderId, Outcome, Principal, Scope, WorkerName};
use gateway_store::CommandOutcome;

use super::actor::Actor;
use super::answers::{self, StartOutcome};
use super::undeliver::undeliver;
use super::use_cases::Orders;
use crate::error::Error;

impl Orders {
    /// Cancels an order and returns it. Repeating the command returns the same result.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:write`, [`Error::NotFound`], [`Error::Refused`] when the order is completed
    /// or failed, and [`Error::Unavailable`].
    pub async fn cancel(
        &self,
        principal: &Principal,
        id: OrderId,
        actor: &Actor,
        reason: Option<String>,
    ) -> Result<Order, Error> {
        principal.require(Scope::OrdersWrite)?;
        let requester = Some(actor.requester(principal));
        self.change(principal, id, Command::Cancel { reason, requester }).await
    }

    /// Starts attempts of a worker. The same lease returns the same order again.
    ///
    /// # Errors
    /// For all: [`Error::Forbidden`] without `work`, and [`Error::Unavailable`]. For one: [`Error::NotFound`] and
    /// [`Error::Refused`].
    pub async fn start_attempts(
        &self,
        principal: &Principal,
        worker: Option<&WorkerName>,
        leases: &[(OrderId, LeaseToken)],
    ) -> Result<Vec<Result<Order, Error>>, Error> {
        principal.require(Scope::Work)?;
        self.apply(principal, starts(worker, leases, usize::MAX), answers::expect_order).await
    }

    /// Starts attempts of orders of at most `max_bytes` ([`Order::approximate_bytes`]); larger orders stay as they
    /// are. The same lease returns the same order again.
    ///
    /// # Errors
    /// As [`Self::start_attempts`].
    pub async fn start_attempts_up_to(
        &self,
        principal: &Principal,
        worker: Option<&WorkerName>,
        leases: &[(OrderId, LeaseToken)],
        max_bytes: usize,
    ) -> Result<Vec<Result<StartOutcome, Error>>, Error> {
        principal.require(Scope::Work)?;
        self.apply(principal, starts(worker, leases, max_bytes), answers::expect_started).await
    }

    /// Starts attempts that the gateway assigns to a worker, which may process these orders.
    pub(crate) async fn start_assigned(
        &self,
        worker: Option<&WorkerName>,
        leases: &[(OrderId, LeaseToken)],
    ) -> Result<Vec<Result<StartOutcome, Error>>, Error> {
        self.submit(starts(worker, leases, usize::MAX), answers::expect_started).await
    }

    /// Ends attempts whose jobs did not reach their worker. They do not count.
    ///
    /// An attempt that cannot be ended within its lease ends with it.
    pub async fn undeliver(&self, leases: Vec<(OrderId, LeaseToken)>) {
        let write = |commands| self.submit(commands, |_, outcome| Ok(outcome));
        undeliver(leases, self.config.rules.lease, write).await;
    }

    /// Renews leases.
    ///
    /// # Errors
    /// As [`Self::start_attempts`].
    pub async fn heartbeat(
        &self,
        principal: &Principal,
        leases: &[(OrderId, LeaseToken)],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        principal.require(Scope::Work)?;
        let commands = leases.iter().map(|(id, lease)| (*id, Command::Heartbeat { lease: *lease })).collect();
        self.apply(principal, commands, answers::expect_done).await
    }

    /// Stores the checkpoint of an attempt, and renews its lease. A repetition stores it again.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `work`, [`Error::NotFound`], [`Error::Refused`] and [`Error::Unavailable`].
    pub async fn checkpoint(
        &self,
        principal: &Principal,
        id: OrderId,
        lease: LeaseToken,
        checkpoint: JsonText,
    ) -> Result<(), Error> {
        principal.require(Scope::Work)?;
        let commands = vec![(id, Command::Checkpoint { lease, checkpoint })];
        let mut results = self.apply(principal, commands, answers::expect_done).await?;
        results.pop().unwrap_or(Err(Error::Internal))
    }

    /// Records the outcomes of attempts. Repeating a report returns the same result.
    ///
    /// # Errors
    /// As [`Self::start_attempts`].
    pub async fn finish(
        &self,
        principal: &Principal,
        reports: Vec<(OrderId, LeaseToken, Outcome)>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        principal.require(Scope::Work)?;
        let commands = reports
            .into_iter()
            .map(|(id, lease, outcome)| (id, Command::Finish { lease, outcome }))
            .collect();
        self.apply(principal, commands, answers::expect_done).await
    }

    /// Ends expired leases that dispatch has found. Returns their number: another gateway may have ended one, or its
    /// worker may have renewed it.
    pub(crate) async fn expire(&self, commands: Vec<(OrderId, Command)>) -> Result<usize, Error> {
        let answers =
            self.submit(commands, |_, applied| Ok(matches!(applied, CommandOutcome::Changed { .. }))).await?;
        Ok(answers.iter().filter(|answer| matches!(answer, Ok(true))).count())
    }
}

fn starts(
    worker: Option<&WorkerName>,
    leases: &[(OrderId, LeaseToken)],
    max_bytes: usize,
) -> Vec<(OrderId, Command)> {
    let start = |lease: LeaseToken| Command::Start { lease, max_bytes, worker: worker.cloned() };
    leases.iter().map(|(id, lease)| (*id, start(*lease))).collect()
}
