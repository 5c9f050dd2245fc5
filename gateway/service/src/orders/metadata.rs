//! Changes the metadata of an order.

use domain::{MetadataPatch, Order, OrderId, Principal, Scope};
use gateway_store::MetadataChange;

use super::actor::Actor;
use super::use_cases::Orders;
use crate::error::Error;

impl Orders {
    /// Sets and removes keys of the metadata of an order in any status, and returns the order.
    ///
    /// With `expected`, only metadata of one of these versions ([`gateway_store::metadata_version`]) is changed.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:write`, [`Error::NotFound`], [`Error::Invalid`], [`Error::MetadataChanged`],
    /// [`Error::Unreadable`] and [`Error::Unavailable`].
    pub async fn update_metadata(
        &self,
        principal: &Principal,
        id: OrderId,
        patch: &MetadataPatch,
        expected: Option<&[String]>,
        requester: &Actor,
    ) -> Result<Order, Error> {
        principal.require(Scope::OrdersWrite)?;
        let requester = requester.requester(principal);
        let changed = match self.store.change_metadata(principal, id, patch, expected, &requester).await? {
            MetadataChange::Changed(metadata) => metadata,
            MetadataChange::Outdated(version) => return Err(Error::MetadataChanged { id, version }),
            MetadataChange::Invalid(problems) => return Err(Error::Invalid(problems)),
            MetadataChange::NotFound => return Err(Error::NotFound(id)),
        };
        let found = self.store.find(principal, &[id]).await?;
        if let Some(unreadable) = found.unreadable.into_iter().next() {
            return Err(unreadable.into());
        }
        let mut order = found.orders.into_iter().next().ok_or(Error::NotFound(id))?;
        // The read may be later than another change.
        order.content.metadata = changed;
        Ok(order)
    }
}
