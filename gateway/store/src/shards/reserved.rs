//! What was reserved for the requests of one transaction.

use std::collections::{HashMap, HashSet};

use domain::{OrderId, TenantId};

use crate::create_request::{CreateRequest, InsertOutcome, TakenReference};

/// A reference of a new order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) tenant: TenantId,
    pub(super) reference: String,
    pub(super) order: OrderId,
    /// The first order of its request, and the index in it.
    pub(super) request: OrderId,
    pub(super) index: usize,
}

/// What was reserved for the requests of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    /// The tenants whose references were reserved.
    pub(super) tenants: HashSet<TenantId>,
    pub(super) rows: Vec<Row>,
    /// The requests that cannot be written, by their first orders. `None`: the shard of a reference does not respond.
    pub(super) refused: HashMap<OrderId, Option<Vec<TakenReference>>>,
}

impl Reservations {
    /// Returns whether no tenant of the requests wants unique references.
    pub(crate) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// Returns whether the references of a tenant were reserved.
    pub(crate) fn has(&self, tenant: &TenantId) -> bool {
        self.tenants.contains(tenant)
    }

    /// Sets the outcomes of new requests that cannot be written.
    pub(crate) fn refuse(
        &self,
        requests: &[CreateRequest],
        committed: &HashSet<OrderId>,
        outcomes: &mut [InsertOutcome],
    ) {
        for (request, outcome) in requests.iter().zip(outcomes) {
            if *outcome == InsertOutcome::Inserted
                && !committed.contains(&request.id())
                && let Some(refused) = self.refused.get(&request.id())
            {
                *outcome = match refused {
                    Some(taken) => InsertOutcome::ReferenceTaken(taken.clone()),
                    None => InsertOutcome::ReferenceUnavailable,
                };
            }
        }
    }
}

impl Reservations {
    pub(super) fn refuse_row(&mut self, request: OrderId, index: usize, order: Option<OrderId>) {
        if let Some(taken) = self.refused.entry(request).or_insert_with(|| Some(Vec::new())) {
            taken.push(TakenReference { index, order });
            taken.sort_unstable_by_key(|taken| taken.index);
        }
    }
}
