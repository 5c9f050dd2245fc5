//! The JSON format of events.

use std::borrow::Cow;
use std::sync::Arc;

use domain::{OrderEvent, Status};
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::order_view::status_schema;

/// An event, in the same JSON format as in all other outputs.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct EventView(Arc<OrderEvent>);

impl From<Arc<OrderEvent>> for EventView {
    fn from(event: Arc<OrderEvent>) -> Self {
        Self(event)
    }
}

impl PartialSchema for EventView {
    fn schema() -> RefOr<Schema> {
        let text = |description: &str, format: Option<KnownFormat>| {
            ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::String))
                .format(format.map(SchemaFormat::KnownFormat))
                .description(Some(description))
        };
        let whole = |description: &str, minimum: u32| {
            ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::Integer))
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
                .minimum(Some(minimum))
                .description(Some(description))
        };
        let or_null = || SchemaType::Array(vec![Type::String, Type::Null]);
        let words = Status::ALL.map(|status| Some(status.as_str())).into_iter().chain([None]);
        let properties = [
            ("orderId", text("The order that changed.", Some(KnownFormat::Uuid))),
            ("sequence", whole("Sequence within the order: 1, 2, 3, without gaps.", 1)),
            ("status", status_schema("New status.")),
            (
                "previousStatus",
                text("Previous status; null for the first event.", None)
                    .schema_type(or_null())
                    .enum_values(Some(words)),
            ),
            ("attempt", whole("Number of the attempt; 0 before the first.", 0)),
            ("reason", text("Reason, at most 500 characters.", None).schema_type(or_null())),
            (
                "errorClass",
                text("Error class; null if the event is not a failure.", None).schema_type(or_null()),
            ),
            (
                "worker",
                text("Worker that started the attempt; null for events that are no start.", None)
                    .schema_type(or_null()),
            ),
            ("occurredAt", text("Time of the change.", Some(KnownFormat::DateTime))),
        ];
        let mut object = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Object))
            .description(Some("A status change of an order."));
        for (name, schema) in properties {
            object = object.property(name, schema).required(name);
        }
        object.into()
    }
}

impl ToSchema for EventView {
    fn name() -> Cow<'static, str> {
        "OrderEvent".into()
    }
}
