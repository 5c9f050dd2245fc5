//! Lease tokens for starts that come one by one.
//!
//! An order and a token together name a lease, and orders that are started under one token share an
//! UPDATE. So starts that come close together share a token. No order ever gets the same one twice: to the
//! store the same token again is the same Start again, and both of two workers would process it. The token that a
//! worker gets is bound to its order (see `keys`), so it cannot report another one.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use domain::{LeaseToken, OrderId};

/// Most orders that share a token; what is remembered of them goes with the token.
const SHARED_BY: usize = 1_000;

pub(super) struct LeaseTokens(Mutex<Shared>);

struct Shared {
    token: LeaseToken,
    orders: HashSet<OrderId>,
}

impl LeaseTokens {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Shared { token: LeaseToken::random(), orders: HashSet::new() }))
    }

    /// A token that this order has never had.
    pub(super) fn token_for(&self, order: OrderId) -> LeaseToken {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.orders.len() == SHARED_BY || !shared.orders.insert(order) {
            *shared = Shared { token: LeaseToken::random(), orders: HashSet::from([order]) };
        }
        shared.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(n: usize) -> OrderId {
        OrderId::from_bytes((n as u128).to_be_bytes())
    }

    #[test]
    fn orders_share_a_token_that_none_of_them_gets_twice() {
        let tokens = LeaseTokens::new();
        let first = tokens.token_for(order(1));
        assert_eq!(tokens.token_for(order(2)), first);
        let again = tokens.token_for(order(1));
        assert_ne!(again, first);
        assert_eq!(tokens.token_for(order(2)), again, "a token that it has not had");
        assert_ne!(tokens.token_for(order(2)), again);
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let tokens = LeaseTokens::new();
        let draw = |n: usize| tokens.token_for(order(n));
        let first = draw(0);
        assert!((1..SHARED_BY).all(|n| draw(n) == first));
        assert_ne!(draw(SHARED_BY), first);
    }
}
