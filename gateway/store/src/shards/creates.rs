//! New orders, each request in the shard of its orders.

use std::sync::Arc;

use domain::transition::Rules;

use crate::{CreateRequest, Error, InsertOutcome, InsertPlan, Inserted, ReplaceRequest, Replacement, Store};

impl Store {
    /// Writes the orders, which are their first events as well, and the idempotency keys: those of each shard in one transaction.
    ///
    /// All orders of a request have ids in one slot. New orders are due at once, or at the time for which they are scheduled.
    /// Returns the outcome of each request.
    ///
    /// When the response to COMMIT is lost, the store reads the orders by their ids, and writes them again if they are
    /// missing. The read waits for a transaction that is still in progress.
    ///
    /// # Errors
    /// [`Error::CommitUnknown`] when that did not help; then the orders are there or not. Every
    /// other error means that those of its shard are not.
    pub async fn insert(&self, requests: Arc<[CreateRequest]>) -> Result<Vec<InsertOutcome>, Error> {
        Ok(self.insert_planned(requests, Arc::default()).await?.outcomes)
    }

    /// As [`Self::insert`], by a plan.
    ///
    /// The caller pushes orders that the queue holds, and sends started ones to their workers.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub async fn insert_planned(
        &self,
        requests: Arc<[CreateRequest]>,
        plan: Arc<InsertPlan>,
    ) -> Result<Inserted, Error> {
        if self.shards.is_none() {
            return self.shard.insert_planned(requests, plan).await;
        }
        let mut outcomes: Vec<Option<InsertOutcome>> = vec![None; requests.len()];
        let mut started = !plan.starts.is_empty();
        for (store, part) in self.parts(requests.to_vec(), |request| request.id().slot()) {
            let (indexes, requests): (Vec<usize>, Vec<_>) = part.into_iter().unzip();
            let inserted = store.shard.insert_planned(requests.into(), plan.clone()).await?;
            started &= inserted.started;
            for (index, outcome) in indexes.into_iter().zip(inserted.outcomes) {
                outcomes[index] = Some(outcome);
            }
        }
        Ok(Inserted { outcomes: outcomes.into_iter().flatten().collect(), started })
    }

    /// As [`Self::insert`], after a first try with an unknown outcome: committed orders are found by their ids and not
    /// written again.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub async fn insert_missing(&self, requests: Arc<[CreateRequest]>) -> Result<Vec<InsertOutcome>, Error> {
        if self.shards.is_none() {
            return self.shard.insert_missing(requests).await;
        }
        let mut outcomes: Vec<Option<InsertOutcome>> = vec![None; requests.len()];
        for (store, part) in self.parts(requests.to_vec(), |request| request.id().slot()) {
            let (indexes, requests): (Vec<usize>, Vec<_>) = part.into_iter().unzip();
            let inserted = store.shard.insert_missing(requests.into()).await?;
            for (index, outcome) in indexes.into_iter().zip(inserted) {
                outcomes[index] = Some(outcome);
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Cancels an order that was never started and writes another one, in one transaction. Both ids have one slot.
    ///
    /// # Errors
    /// [`Error::CommitUnknown`] when the response to COMMIT was lost twice. Every other error means that nothing was
    /// changed.
    pub async fn replace(&self, request: ReplaceRequest, rules: Rules) -> Result<Replacement, Error> {
        self.shard_of(request.old).replace(request, rules).await
    }
}
