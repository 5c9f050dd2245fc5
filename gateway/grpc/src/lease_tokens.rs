//! Lease tokens for single start calls.
//!
//! An order and a token together identify a lease. Orders that start under one token share an UPDATE, so start calls
//! that arrive close together share a token. An order never gets the same token twice: the store treats a repeated token
//! as a repetition of the same start, and two workers would process the order. The token that a worker receives is bound
//! to its order (`gateway_service::InstallationKeys`), so the worker cannot report another order with it.
//!
//! A token contains a tag of the credential that started the attempt. With authentication, a report without a token is
//! accepted only from that credential, at every gateway.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use domain::{LeaseToken, OrderId};

/// Maximum number of orders that share a token, which limits the memory for their ids.
const MAX_ORDERS_PER_TOKEN: usize = 1_000;

/// Creates the lease tokens of single start calls.
pub(super) struct LeaseTokens(Mutex<Shared>);

struct Shared {
    token: LeaseToken,
    orders: HashSet<OrderId>,
}

impl LeaseTokens {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Shared { token: LeaseToken::random(), orders: HashSet::new() }))
    }

    /// Returns a token with this tag that the order has never had.
    pub(super) fn token_for(&self, order: OrderId, tag: u32) -> LeaseToken {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.orders.len() == MAX_ORDERS_PER_TOKEN || !shared.orders.insert(order) {
            *shared = Shared { token: LeaseToken::random(), orders: HashSet::from([order]) };
        }
        shared.token.with_tag(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(n: usize) -> OrderId {
        OrderId::from_bytes((n as u128).to_be_bytes())
    }

    #[test]
    fn orders_share_a_token_and_no_order_gets_it_twice() {
        let tokens = LeaseTokens::new();
        let first = tokens.token_for(order(1), 7);
        assert_eq!(tokens.token_for(order(2), 7), first);
        let again = tokens.token_for(order(1), 7);
        assert_ne!(again, first);
        assert_eq!(tokens.token_for(order(2), 7), again, "the order has not had this token");
        assert_ne!(tokens.token_for(order(2), 7), again);
        assert!(again.has_tag(7) && tokens.token_for(order(3), 8).has_tag(8));
    }

    #[test]
    fn a_token_is_shared_by_a_limited_number_of_orders() {
        let tokens = LeaseTokens::new();
        let draw = |n: usize| tokens.token_for(order(n), 7);
        let first = draw(0);
        assert!((1..MAX_ORDERS_PER_TOKEN).all(|n| draw(n) == first));
        assert_ne!(draw(MAX_ORDERS_PER_TOKEN), first);
    }
}
