//! Subscriptions that wait, without what async-graphql keeps for them.
//!
//! Its stream has room for everything from the request to an event: several times of what is needed
//! between two events. So a root field hands its stream over, together with what it takes to show an item,
//! and async-graphql's own stream ends there and is dropped. What is done for an item is what the derived
//! code does, except that extensions of the schema are asked only for what is in the item.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_graphql::parser::types::Field;
use async_graphql::{
    Context, OutputType, Positioned, QueryEnv, QueryPathNode, QueryPathSegment, Response, SchemaEnv, Value,
};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, Stream, StreamExt};

/// Where the engine finds the stream of an operation.
#[derive(Default)]
pub(crate) struct StreamSlot(Arc<SharedStream>);

/// Where a root field puts it: part of the request. Weak, because the stream knows its request.
pub(crate) struct SlotWriter(Weak<SharedStream>);

type SharedStream = Mutex<Option<BoxStream<'static, Response>>>;

impl StreamSlot {
    pub(crate) fn writer(&self) -> SlotWriter {
        SlotWriter(Arc::downgrade(&self.0))
    }

    /// What was handed over; nothing follows when nothing was.
    pub(crate) fn take(self) -> BoxStream<'static, Response> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.unwrap_or_else(|| stream::empty().boxed())
    }
}

/// Hands the items of a root field over. What is returned is for async-graphql.
pub(crate) fn attach<T: OutputType + Send + Sync + 'static>(
    ctx: &Context<'_>,
    items: impl Stream<Item = T> + Send + 'static,
) -> BoxStream<'static, T> {
    let Some(slot) = ctx.data_opt::<SlotWriter>().and_then(|writer| writer.0.upgrade()) else {
        return items.boxed();
    };
    let field = Arc::new(SubscribedField {
        schema: ctx.schema_env.clone(),
        query: ctx.query_env.clone(),
        field: ctx.item.clone(),
    });
    let responses = items.then(move |item| {
        let field = Arc::clone(&field);
        // Boxed, so that it takes room only while there is an item.
        async move { field.resolve_item(&item).await }.boxed()
    });
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(responses.boxed());
    stream::empty().boxed()
}

/// Where items come from and what their subscriber wants to see of them.
struct SubscribedField {
    schema: SchemaEnv,
    query: QueryEnv,
    field: Positioned<Field>,
}

impl SubscribedField {
    async fn resolve_item(&self, item: &impl OutputType) -> Response {
        let name = &self.field.node.response_key().node;
        let path = QueryPathNode { parent: None, segment: QueryPathSegment::Name(name) };
        let selected = &self.field.node.selection_set;
        let ctx = self.query.create_context(&self.schema, Some(path), selected, None);
        let mut response = match item.resolve(&ctx, &self.field).await {
            Ok(value) => Response::new(Value::Object([(name.clone(), value)].into_iter().collect())),
            Err(error) => Response::from_errors(vec![error]),
        };
        response.errors.append(&mut self.query.errors.lock().unwrap_or_else(PoisonError::into_inner));
        response
    }
}
