//! Many orders in one request.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::Draft;
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::create::{IDEMPOTENT_REPLAYED, idempotency_key};
use super::draft::NewOrder;
use super::view::OrderView;
use crate::App;
use crate::Error;
use crate::http::body::{self, Rows};
use crate::http::json::{self, Shape};
use crate::http::problem::{InputError, Problem};
use crate::http::query::Query;
use crate::orders::{CreatedRows, ErrorPolicy, MAX_ROWS, Row, RowOutcome};
use crate::panics;

const REJECT_EVERYTHING: &str = "REJECT_EVERYTHING";
const REJECT_FAILED_ROWS: &str = "REJECT_FAILED_ROWS";

/// What became of a bulk create.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CreatedOrders)]
struct BulkView {
    /// Orders that were created.
    #[schema(example = 1)]
    created: usize,
    /// Rows that were not.
    #[schema(example = 1)]
    failed: usize,
    /// One result for each row, in the order of the rows.
    results: Vec<RowView>,
}

/// What became of one row of a bulk create.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CreatedOrdersRow)]
pub(in crate::http) struct RowView {
    /// Its place among the rows, from 0.
    #[schema(example = 0)]
    index: usize,
    /// `created`; `invalid`: see `errors`; `not_created`: nothing is wrong with it, but with another row;
    /// `failed`: it could not be checked because of an error in the gateway.
    #[schema(value_type = String, example = "created")]
    status: &'static str,
    /// The order, when it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    order: Option<OrderView>,
    /// What is wrong with it; pointers begin at the row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<InputError>,
}

/// Accepts up to 1,000 orders at once, in one transaction. The body is a JSON array of orders, or one
/// order on each line (`Content-Type: application/x-ndjson`), at most 4 MiB.
#[utoipa::path(
    post, path = "/orders/bulk", tag = "orders", operation_id = "createOrders",
    params(
        ("errorPolicy" = Option<String>, Query, description = "What is done when some rows are wrong. `REJECT_EVERYTHING` (default): nothing is created. `REJECT_FAILED_ROWS`: the good rows are."),
        ("Idempotency-Key" = Option<String>, Header, description = "As for a single order; it names the whole request. The same key with the same rows again answers the same orders and makes no others."),
    ),
    request_body(content(
        (Vec<NewOrder> = "application/json"),
        (String = "application/x-ndjson", example = "{\"item\":\"Laptop\",\"quantity\":2,\"price\":1299.99}\n{\"item\":\"Mouse\",\"quantity\":1,\"price\":25}\n"),
    )),
    responses(
        (status = 201, description = "Every row was created.", body = BulkView,
            headers(("Idempotent-Replayed" = String, description = "`true` when the orders were created before, by a request with the same key."))),
        (status = 207, description = "Some rows were created, the others are wrong: only with `REJECT_FAILED_ROWS`.", body = BulkView),
        (status = 400, description = "`malformed_json`, `invalid_body`, `invalid_query`, `invalid_header`", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "`body_timeout`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_order`: nothing was created, and `results` has one result for each row; `invalid_row_count`; `idempotency_key_reused`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "As for a single order: nothing was created, or `outcome_unknown`.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    app.orders.has_room()?;
    let key = idempotency_key(request.headers())?;
    let policy = policy(query.as_deref())?;
    let body = body::rows(request, &app.config.http).await?;
    let rows = read(&body)?;
    let drafts = rows.iter().map(|row| match row {
        Ok(draft) => Row::Draft(draft.clone()),
        Err((bytes, _)) => Row::Unreadable(bytes.to_vec()),
    });
    let created = app.orders.create_rows(drafts.collect(), policy, key).await?;
    answer(created, rows)
}

fn policy(query: Option<&str>) -> Result<ErrorPolicy, Problem> {
    let mut query = Query::new(query, &["errorPolicy"]);
    let policy = match query.one("errorPolicy").as_deref() {
        None | Some(REJECT_EVERYTHING) => ErrorPolicy::RejectEverything,
        Some(REJECT_FAILED_ROWS) => ErrorPolicy::RejectFailedRows,
        Some(_) => {
            query.add("errorPolicy", format!("must be {REJECT_EVERYTHING} or {REJECT_FAILED_ROWS}"));
            ErrorPolicy::default()
        }
    };
    query.finish()?;
    Ok(policy)
}

/// A row that was read, or its bytes and what is wrong with its shape.
type ReadRow<'a> = Result<Draft, (&'a [u8], Vec<InputError>)>;

fn read(body: &Rows<Bytes>) -> Result<Vec<ReadRow<'_>>, Problem> {
    match body {
        Rows::Array(body) => {
            let document = json::document(body)?;
            let mut shape = Shape::default();
            let elements = shape.array("", document);
            shape.finish()?;
            let elements = elements.unwrap_or_default();
            checked(elements.len())?;
            Ok(elements.into_iter().map(read_row).collect())
        }
        Rows::Lines(body) => {
            let lines =
                || body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
            checked(lines().count())?;
            let row = |line| match serde_json::from_slice::<&RawValue>(line) {
                Ok(document) => read_row(document),
                Err(error) => Err((line, vec![InputError::field("", format!("is not JSON: {error}"))])),
            };
            Ok(lines().map(row).collect())
        }
    }
}

/// Too many rows are not even read.
fn checked(count: usize) -> Result<(), Problem> {
    if (1..=MAX_ROWS).contains(&count) { Ok(()) } else { Err(Error::RowCount(count).into()) }
}

fn read_row(document: &RawValue) -> ReadRow<'_> {
    let read =
        panics::caught("bulk", || NewOrder::read_value(document)).unwrap_or_else(|_| Err(vec![defect()]));
    read.map(Into::into).map_err(|errors| (document.get().as_bytes(), errors))
}

/// What a row says that could not be read or checked.
fn defect() -> InputError {
    InputError::field("", Error::Internal.to_string())
}

fn answer(created: CreatedRows, rows: Vec<ReadRow<'_>>) -> Result<Response, Problem> {
    let results: Vec<RowView> = created
        .rows
        .into_iter()
        .zip(rows)
        .enumerate()
        .map(|(index, (outcome, row))| {
            let (status, order, errors) = match outcome {
                RowOutcome::Created(order) => ("created", Some((&*order).into()), Vec::new()),
                RowOutcome::NotCreated => ("not_created", None, Vec::new()),
                RowOutcome::Unreadable => {
                    ("invalid", None, row.err().map_or(Vec::new(), |(_, errors)| errors))
                }
                RowOutcome::Failed => ("failed", None, vec![defect()]),
                RowOutcome::Invalid(problems) => {
                    let error = |problem: domain::Invalid| {
                        InputError::field(problem.field.pointer(), problem.message)
                    };
                    ("invalid", None, problems.into_iter().map(error).collect())
                }
            };
            RowView { index, status, order, errors }
        })
        .collect();
    let count = results.iter().filter(|row| row.order.is_some()).count();
    let failed = results.len() - count;
    if count == 0 {
        return Err(Problem::rows(results));
    }
    let status = if failed == 0 { StatusCode::CREATED } else { StatusCode::MULTI_STATUS };
    let replayed = created.replayed.then_some([(IDEMPOTENT_REPLAYED, "true")]);
    Ok((status, replayed, Json(BulkView { created: count, failed, results })).into_response())
}

impl RowView {
    /// Its errors, with pointers that begin at the whole body.
    pub(in crate::http) fn errors(&self) -> impl Iterator<Item = InputError> {
        self.errors.iter().map(|error| {
            let within = error.pointer.as_deref().unwrap_or_default();
            InputError::field(format!("/{}{within}", self.index), error.detail.clone())
        })
    }
}
