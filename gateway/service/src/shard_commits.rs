//! One group commit for each shard of the database, so that a transaction concerns one shard, and a shard that does not respond
//! delays only its own orders. A database without shards has one.

use std::sync::Arc;

use domain::Slot;
use futures_util::future::join_all;
use gateway_store::Store;

use crate::group_commit::{GroupCommit, SubmitError};

pub(crate) struct ShardCommits<T, R> {
    store: Store,
    commits: Arc<[GroupCommit<T, R>]>,
    slot: fn(&T) -> Slot,
}

impl<T, R> Clone for ShardCommits<T, R> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), commits: self.commits.clone(), slot: self.slot }
    }
}

impl<T: Clone + Send + Sync + 'static, R: Send + 'static> ShardCommits<T, R> {
    /// Creates a group commit for each shard. `slot` returns that of the order of an item.
    pub(crate) fn start(
        store: &Store,
        slot: fn(&T) -> Slot,
        start: impl FnMut(Store) -> GroupCommit<T, R>,
    ) -> Self {
        let commits: Vec<_> = store.shards().into_iter().map(start).collect();
        Self { store: store.clone(), commits: commits.into(), slot }
    }

    /// Returns whether the next group would be rejected, whatever its shard is.
    pub(crate) fn is_full(&self) -> bool {
        self.commits.iter().all(GroupCommit::is_full)
    }

    /// Submits one item and waits for its result.
    pub(crate) async fn submit_one(&self, item: T) -> Result<Option<R>, SubmitError> {
        let shard = self.index_of(&item);
        self.check(&item)?;
        Ok(self.commits[shard].submit(vec![item]).await?.pop())
    }

    /// Fails while the shard of an item does not accept writes, so that items of other shards in the same call do not wait for it.
    fn check(&self, item: &T) -> Result<(), SubmitError> {
        match self.commits.len() > 1 && self.store.of((self.slot)(item)).is_unhealthy() {
            true => Err(SubmitError::ShardUnavailable),
            false => Ok(()),
        }
    }

    /// Submits a group for each shard of the items, and waits for the results. Without shards there is one group, and one error.
    ///
    /// # Errors
    /// Why the only group has no results.
    pub(crate) async fn submit(&self, items: Vec<T>) -> Result<Vec<Result<R, SubmitError>>, SubmitError> {
        if let [only] = &*self.commits {
            return Ok(only.submit(items).await?.into_iter().map(Ok).collect());
        }
        let mut results: Vec<Option<Result<R, SubmitError>>> = items.iter().map(|_| None).collect();
        let mut groups: Vec<(Vec<usize>, Vec<T>)> = self.commits.iter().map(|_| Default::default()).collect();
        for (n, item) in items.into_iter().enumerate() {
            if let Err(error) = self.check(&item) {
                results[n] = Some(Err(error));
                continue;
            }
            let (indexes, group) = &mut groups[self.index_of(&item)];
            indexes.push(n);
            group.push(item);
        }
        let groups = self
            .commits
            .iter()
            .zip(groups)
            .map(|(commit, (indexes, group))| async move { (indexes, commit.submit(group).await) });
        for (indexes, group) in join_all(groups).await {
            let mut group = group.map(Vec::into_iter);
            for index in indexes {
                results[index] = Some(match &mut group {
                    Ok(group) => group.next().ok_or(SubmitError::Panicked),
                    Err(error) => Err(*error),
                });
            }
        }
        Ok(results.into_iter().map(|result| result.unwrap_or(Err(SubmitError::Panicked))).collect())
    }

    fn index_of(&self, item: &T) -> usize {
        // The number of shards can have changed since the start.
        self.store.index_of((self.slot)(item)).min(self.commits.len() - 1)
    }
}
