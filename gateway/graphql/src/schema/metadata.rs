//! The mutation of the metadata of an order.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use domain::MetadataPatch;

use crate::schema::mutation::{UserError, actor, order_id, split_outcome};
use crate::schema::types::Order;
use crate::services::{Services, caller};

/// A key to set or to remove.
#[derive(InputObject)]
pub(crate) struct MetadataChangeInput {
    /// Key: 1 to 40 ASCII letters, digits, `_`, `-` or `.`.
    key: String,
    /// Value: at most 500 characters, no control characters. Null removes the key.
    value: Option<String>,
}

/// The change of the metadata of an order.
#[derive(InputObject)]
pub(crate) struct UpdateMetadataInput {
    /// The id of the order.
    order_id: ID,
    /// The keys to set or to remove; other keys stay.
    metadata: Vec<MetadataChangeInput>,
    /// Make the change only while `metadataVersion` is this. Default: always.
    if_version: Option<String>,
}

/// The changed order or the errors.
#[derive(SimpleObject)]
pub(crate) struct UpdateMetadataPayload {
    /// The order with the new metadata; null on an error.
    order: Option<Order>,
    /// The errors; empty on success.
    user_errors: Vec<UserError>,
}

/// The mutation of metadata.
#[derive(Default)]
pub(crate) struct MetadataMutation;

/// The mutation of metadata.
#[Object]
impl MetadataMutation {
    /// Changes the metadata of an order in any status. The change is no event and takes no sequence.
    async fn update_metadata(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order and the change.")] input: UpdateMetadataInput,
    ) -> Option<Result<UpdateMetadataPayload>> {
        let orders = &ctx.data_unchecked::<Arc<Services>>().orders;
        let patch =
            MetadataPatch(input.metadata.into_iter().map(|change| (change.key, change.value)).collect());
        let expected = input.if_version.map(|version| [version]);
        let expected = expected.as_ref().map(<[String; 1]>::as_slice);
        let outcome = match (order_id(&input.order_id), actor(ctx, None)) {
            (Ok(id), Ok(actor)) => {
                let order = orders.update_metadata(caller(ctx), id, &patch, expected, &actor).await;
                split_outcome(order.map(Into::into))
            }
            (Err(error), _) | (_, Err(error)) => Ok((None, vec![error])),
        };
        Some(outcome.map(|(order, user_errors)| UpdateMetadataPayload { order, user_errors }))
    }
}
