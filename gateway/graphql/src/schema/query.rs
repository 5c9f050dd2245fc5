//! Queries of orders.
//!
//! A field that can fail returns `Option<Result<…>>`, so that only this field is null after an error. With
//! `Result<Option<…>>`, async-graphql sets the parent to null.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result};

use crate::errors::to_graphql_error;
use crate::schema::dead_letter_groups::{self, DeadLetterGroups};
use crate::schema::list::{ConnectionArgs, OrderConnection, OrderFilter, OrderSort, page};
use crate::schema::types::{Node, Order};
use crate::services::{Services, caller};
use gateway_service::Error;

/// Queries of orders.
#[derive(Default)]
pub(crate) struct OrderQuery;

/// Queries of orders.
#[Object]
impl OrderQuery {
    /// Returns an object by its id; null if it does not exist.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of the object.")] id: ID,
    ) -> Option<Result<Node>> {
        find(ctx, &id).await.map(|order| order.map(Node::Order)).transpose()
    }

    /// Returns an order by its id; null if it does not exist.
    async fn order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of the order.")] id: ID,
    ) -> Option<Result<Order>> {
        find(ctx, &id).await.transpose()
    }

    /// Returns the newest order with an external reference, compared byte by byte; null without one.
    async fn order_by_reference(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "External reference.")] reference: String,
    ) -> Option<Result<Order>> {
        let orders = &ctx.data_unchecked::<Arc<Services>>().orders;
        let order = orders.by_reference(caller(ctx), &reference).await;
        order.map(|order| order.map(Into::into)).map_err(to_graphql_error).transpose()
    }

    /// Lists orders as a Relay cursor connection. New orders do not shift the pages.
    #[expect(clippy::too_many_arguments, reason = "they are the arguments of the field")]
    async fn orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Number of orders from the start: 1 to 100. Default: 20 without `first` and `last`."
        )]
        first: Option<i32>,
        #[graphql(desc = "Return orders after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of orders from the end: 1 to 100. Excludes `first`.")] last: Option<i32>,
        #[graphql(desc = "Return orders before this cursor.")] before: Option<String>,
        #[graphql(desc = "Filter.")] filter: Option<OrderFilter>,
        #[graphql(desc = "Sort order. Default: CREATED_AT_DESC.")] sort: Option<OrderSort>,
    ) -> Option<Result<OrderConnection>> {
        let args = ConnectionArgs { first, after, last, before };
        Some(page(ctx, args, filter.unwrap_or_default(), sort).await)
    }

    /// Groups the failed orders by error class and by their reason without its variable parts, largest groups
    /// first.
    async fn dead_letter_groups(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Filter; `statuses` has no effect.")] filter: Option<OrderFilter>,
        #[graphql(desc = "Number of groups: 1 to 100. Default: 20.")] first: Option<i32>,
    ) -> Option<Result<DeadLetterGroups>> {
        Some(dead_letter_groups::groups(ctx, filter.unwrap_or_default(), first).await)
    }
}

async fn find(ctx: &Context<'_>, id: &ID) -> Result<Option<Order>> {
    // A string that is not an order id identifies no order.
    let Ok(id) = id.parse() else { return Ok(None) };
    match ctx.data_unchecked::<Arc<Services>>().orders.get(caller(ctx), id).await {
        Ok(order) => Ok(Some(order.into())),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(to_graphql_error(error)),
    }
}
