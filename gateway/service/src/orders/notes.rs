//! The notes of orders.

use domain::{Note, NoteContent, OrderId, Principal, Scope};
use gateway_store::NoteOutcome;

use super::actor::Actor;
use super::use_cases::Orders;
use crate::error::Error;

impl Orders {
    /// Adds a note to an order in any status. A repetition adds another one.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:write`, [`Error::NotFound`], [`Error::NoteLimit`] and
    /// [`Error::Unavailable`].
    pub async fn add_note(
        &self,
        principal: &Principal,
        id: OrderId,
        content: &NoteContent,
        actor: &Actor,
    ) -> Result<Note, Error> {
        principal.require(Scope::OrdersWrite)?;
        let author = actor.named(principal).unwrap_or_else(|| principal.name.to_string());
        match self.store.add_note(principal, id, content, &author).await? {
            NoteOutcome::Added(note) => Ok(note),
            NoteOutcome::LimitReached => Err(Error::NoteLimit(id)),
            NoteOutcome::NotFound => Err(Error::NotFound(id)),
        }
    }

    /// Reads the notes of an order, oldest first.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:read`, [`Error::NotFound`] and [`Error::Unavailable`].
    pub async fn notes(&self, principal: &Principal, id: OrderId) -> Result<Vec<Note>, Error> {
        principal.require(Scope::OrdersRead)?;
        self.store.notes(principal, id).await?.ok_or(Error::NotFound(id))
    }
}
