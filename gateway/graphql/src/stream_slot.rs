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
pub(crate) struct Handover(Arc<Slot>);

/// Where a root field puts it: part of the request. Weak, because the stream knows its request.
pub(crate) struct Taker(Weak<Slot>);

type Slot = Mutex<Option<BoxStream<'static, Response>>>;

impl Handover {
    pub(crate) fn taker(&self) -> Taker {
        Taker(Arc::downgrade(&self.0))
    }

    /// What was handed over; nothing follows when nothing was.
    pub(crate) fn take(self) -> BoxStream<'static, Response> {
        let handed_over = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        handed_over.unwrap_or_else(|| stream::empty().boxed())
    }
}

/// Hands the items of a root field over. What is returned is for async-graphql.
pub(crate) fn hand_over<T: OutputType + Send + Sync + 'static>(
    ctx: &Context<'_>,
    items: impl Stream<Item = T> + Send + 'static,
) -> BoxStream<'static, T> {
    let Some(slot) = ctx.data_opt::<Taker>().and_then(|taker| taker.0.upgrade()) else {
        return items.boxed();
    };
    let origin = Arc::new(Origin {
        schema: ctx.schema_env.clone(),
        query: ctx.query_env.clone(),
        field: ctx.item.clone(),
    });
    let responses = items.then(move |item| {
        let origin = Arc::clone(&origin);
        // Boxed, so that it takes room only while there is an item.
        async move { origin.show(&item).await }.boxed()
    });
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(responses.boxed());
    stream::empty().boxed()
}

/// Where items come from and what their subscriber wants to see of them.
struct Origin {
    schema: SchemaEnv,
    query: QueryEnv,
    field: Positioned<Field>,
}

impl Origin {
    async fn show(&self, item: &impl OutputType) -> Response {
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
