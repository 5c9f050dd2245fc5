//! What can be asked.
//!
//! Fields that can fail are `Option<Result<…>>` and not the other way round: so a field that failed
//! is null and its neighbours are still answered. An outer `Result` would take the parent down.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result};

use super::Services;
use super::errors::fault;
use super::list::{OrderConnection, OrderFilter, OrderSort, Window, page};
use super::types::{Node, Order};
use crate::Error;

/// What can be asked about orders.
#[derive(Default)]
pub(crate) struct OrderQuery;

/// What can be asked about orders.
#[Object]
impl OrderQuery {
    /// Any object by its id; null when there is none.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of the object.")] id: ID,
    ) -> Option<Result<Node>> {
        find(ctx, &id).await.map(|order| order.map(Node::Order)).transpose()
    }

    /// One order by its id; null when there is none.
    async fn order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of the order.")] id: ID,
    ) -> Option<Result<Order>> {
        find(ctx, &id).await.transpose()
    }

    /// Orders, a page at a time, as the Relay cursor connections specification says. Orders that are
    /// created meanwhile do not shift the pages.
    #[expect(clippy::too_many_arguments, reason = "they are the arguments of the field")]
    async fn orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "How many from the beginning, 1 to 100; 20 when neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only orders behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100. Not together with `first`.")] last: Option<i32>,
        #[graphql(desc = "Only orders in front of this cursor.")] before: Option<String>,
        #[graphql(desc = "Only orders that match.")] filter: Option<OrderFilter>,
        #[graphql(desc = "In which order; CREATED_AT_DESC when absent.")] sort: Option<OrderSort>,
    ) -> Option<Result<OrderConnection>> {
        let window = Window { first, after, last, before };
        Some(page(ctx, window, filter.unwrap_or_default(), sort).await)
    }
}

async fn find(ctx: &Context<'_>, id: &ID) -> Result<Option<Order>> {
    // A text that is no order id is the id of nothing.
    let Ok(id) = id.parse() else { return Ok(None) };
    match ctx.data_unchecked::<Arc<Services>>().orders.get(id).await {
        Ok(order) => Ok(Some(order.into())),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(fault(error)),
    }
}
