//! Creates many orders in one request.

use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use domain::waiting::QueueSnapshot;
use domain::{Draft, ErrorCode, Order};
use http::{StatusCode, header};
use serde_json::value::RawValue;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::api_error::{ApiError, ProblemSchema};
use super::bulk_body::{self, BulkBody};
use super::create_order::{IDEMPOTENT_REPLAYED, idempotency_key};
use super::draft::{self, DraftSchema};
use super::order_view::OrderView;
use super::row_result::RowResult;
use super::schema;
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::json::{self, Decoder};
use gateway_http::problem::{InputError, MAX_ERRORS, Problem};
use gateway_http::query::Query;
use gateway_http::quota;
use gateway_service::Error;
use gateway_service::MAX_ROWS;
use gateway_service::orders::{BulkCreated, BulkRow, BulkRowOutcome, ErrorPolicy};
use telemetry::panics;

const REJECT_EVERYTHING: &str = "REJECT_EVERYTHING";
const REJECT_FAILED_ROWS: &str = "REJECT_FAILED_ROWS";

/// The schema of the rows of a bulk create, for the documentation.
struct NewOrders;

impl PartialSchema for NewOrders {
    fn schema() -> RefOr<Schema> {
        schema::of(serde_json::json!({
            "type": "array", "items": {"$ref": "#/components/schemas/NewOrder"}, "minItems": 1, "maxItems": MAX_ROWS,
            "example": [{"item": "Laptop", "quantity": 2, "price": 1299.99}, {"item": "Mouse", "quantity": 1, "price": 25}],
        }))
    }
}

impl ToSchema for NewOrders {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((DraftSchema::name().into_owned(), DraftSchema::schema()));
        DraftSchema::schemas(schemas);
    }
}

/// The schema of the handling of invalid rows, for the documentation.
struct ErrorPolicyWord;

impl PartialSchema for ErrorPolicyWord {
    fn schema() -> RefOr<Schema> {
        schema::of(serde_json::json!({"type": "string", "enum": [REJECT_EVERYTHING, REJECT_FAILED_ROWS]}))
    }
}

impl ToSchema for ErrorPolicyWord {
    fn name() -> std::borrow::Cow<'static, str> {
        "ErrorPolicy".into()
    }
}

const REFERENCE_TAKEN: &str = "reference_taken";
const NOT_CREATED: &str = "not_created";

/// Maximum size of the result of a row without its order and its errors, in bytes.
const ROW_BYTES: usize = 128;

/// Result of a bulk create.
#[derive(ToSchema)]
#[schema(as = CreatedOrders)]
#[expect(dead_code, reason = "written by hand, row by row")]
struct BulkView {
    /// Number of orders created.
    #[schema(example = 1)]
    created: usize,
    /// Number of rows that were not created.
    #[schema(example = 1)]
    failed: usize,
    /// One result per row, in row order.
    results: Vec<RowResult>,
}

/// Creates up to 1,000 orders in one transaction. The body is a JSON array of orders, or one order per line
/// (Content-Type: application/x-ndjson), at most 4 MiB.
#[utoipa::path(
    post, path = "/orders/bulk", tag = "orders", operation_id = "createOrders",
    params(
        ("errorPolicy" = inline(Option<ErrorPolicyWord>), Query, description = "Handling of invalid rows. `REJECT_EVERYTHING` (default): no row is created. `REJECT_FAILED_ROWS`: the valid rows are created."),
        ("Idempotency-Key" = Option<String>, Header, description = "Idempotency key of the whole request, as for a single order. The same key with the same rows returns the original orders and creates no others.", min_length = 1, max_length = 257, pattern = "^(\"[!-~]{1,255}\"|[!#-~][!-~]{0,254})$"),
    ),
    request_body(content(
        (NewOrders = "application/json"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 201, description = "Every row was created.", body = BulkView,
            headers(("Idempotent-Replayed" = String, description = "`true` if an earlier request with the same key created the orders."))),
        (status = 207, description = "The valid rows were created, the others are invalid: only with `REJECT_FAILED_ROWS`.", body = BulkView),
        (status = 400, description = "`malformed_json`, `invalid_input`, `invalid_idempotency_key`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 408, description = "`body_timeout`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`reference_taken`: nothing was created, and `results` has one result for each row", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_order`: nothing was created, and `results` has one result for each row; `invalid_row_count`; `idempotency_key_reused`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = "As for a single order: nothing was created, or `outcome_unknown`.", body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<RestState>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, ApiError> {
    state.orders.check_capacity()?;
    let key = idempotency_key(request.headers())?;
    let policy = policy(query.as_deref())?;
    let body = bulk_body::read(
        request,
        &state.context.limits,
        state.config.max_bulk_body_size,
        &state.context.buffers.bodies,
    )
    .await?;
    let _working = state.bulk_limiter().enter(body.len()).await?;
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    let read_rows = read(&body)?;
    quota::charge_rest(&principal, read_rows.len())?;
    for row in read_rows {
        let (row, wrong) = match row {
            Ok(draft) => (BulkRow::Draft(Box::new(draft)), Vec::new()),
            Err((bytes, wrong)) => (BulkRow::Unreadable(bytes.to_vec()), wrong),
        };
        rows.push(row);
        errors.push(wrong);
    }
    // The rows are copies, so the bytes of the body are dropped.
    let _held = body.into_held();
    let created = state.orders.create_bulk(&principal, rows, policy, key).await?;
    answer(created, errors, state.context.limits.max_response_size, state.orders.queue_snapshot())
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

/// A parsed row, or its bytes and the errors of its shape.
type ReadRow<'a> = Result<Draft, (&'a [u8], Vec<InputError>)>;

fn read(body: &BulkBody) -> Result<Vec<ReadRow<'_>>, ApiError> {
    match body {
        BulkBody::Array(body) => {
            let document = json::document(body)?;
            let mut decoder = Decoder::default();
            let elements = decoder.array("", document);
            decoder.finish()?;
            let elements = elements.unwrap_or_default();
            checked(elements.len())?;
            Ok(elements.into_iter().map(read_row).collect())
        }
        BulkBody::Lines(body) => {
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

/// Checks the number of rows before they are parsed.
fn checked(count: usize) -> Result<(), ApiError> {
    if (1..=MAX_ROWS).contains(&count) { Ok(()) } else { Err(Error::RowCount(count).into()) }
}

fn read_row(document: &RawValue) -> ReadRow<'_> {
    let read = panics::catch("bulk", || draft::read_row(document)).unwrap_or_else(|_| Err(vec![defect()]));
    read.map_err(|errors| (document.get().as_bytes(), errors))
}

/// Returns the error of a row that failed because of a defect of the gateway.
fn defect() -> InputError {
    InputError::field("", Error::Internal.to_string())
}

fn answer(
    created: BulkCreated,
    errors: Vec<Vec<InputError>>,
    bytes: usize,
    snapshot: QueueSnapshot,
) -> Result<Response, ApiError> {
    let count = created.rows.iter().filter(|row| matches!(row, BulkRowOutcome::Created(_))).count();
    let failed = created.rows.len() - count;
    let mut left =
        Left { bytes: bytes.saturating_sub(ROW_BYTES * errors.len()), errors: MAX_ERRORS, snapshot };
    let outcomes = created.rows.into_iter().zip(errors).enumerate();
    let mut results = outcomes.map(|(index, (outcome, errors))| left.row(index, outcome, errors));
    if count == 0 {
        return Err(not_created(&results.collect::<Vec<_>>()).into());
    }
    // The rows are serialised one by one, so that no order is in memory twice.
    let mut body = format!("{{\"created\":{count},\"failed\":{failed},\"results\":[").into_bytes();
    if let Some(first) = results.next() {
        write(&mut body, &first);
    }
    for row in results {
        body.push(b',');
        write(&mut body, &row);
    }
    body.extend_from_slice(b"]}");
    let status = if failed == 0 { StatusCode::CREATED } else { StatusCode::MULTI_STATUS };
    let replayed = created.replayed.then_some([(IDEMPOTENT_REPLAYED, "true")]);
    Ok((status, replayed, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Returns the problem of a bulk create that created no row.
fn not_created(results: &[RowResult]) -> Problem {
    let errors = results.iter().flat_map(RowResult::errors).collect();
    let is_taken = |row: &RowResult| row.status == REFERENCE_TAKEN;
    let only_taken = results.iter().all(|row| is_taken(row) || row.status == NOT_CREATED);
    let code = if only_taken && results.iter().any(is_taken) {
        ErrorCode::ReferenceTaken
    } else {
        ErrorCode::InvalidOrder
    };
    Problem::input(code, errors).with("results", &results)
}

fn write(body: &mut Vec<u8>, row: &RowResult) {
    serde_json::to_writer(body, row).expect("strings and numbers have a JSON text");
}

/// The remaining space for orders and errors in the response.
struct Left {
    bytes: usize,
    errors: usize,
    snapshot: QueueSnapshot,
}

impl Left {
    fn row(&mut self, index: usize, outcome: BulkRowOutcome, errors: Vec<InputError>) -> RowResult {
        let invalid = |errors| RowResult { index, status: "invalid", order_id: None, order: None, errors };
        match outcome {
            BulkRowOutcome::Created(order) => RowResult {
                status: "created",
                order_id: Some(order.id),
                order: self.order(&order),
                ..invalid(Vec::new())
            },
            BulkRowOutcome::ReferenceTaken(taken) => {
                let error = InputError::field("/externalReference", taken.to_string());
                let errors = self.errors(std::iter::once(error));
                RowResult { status: REFERENCE_TAKEN, order_id: taken.order, ..invalid(errors) }
            }
            BulkRowOutcome::NotCreated => RowResult { status: NOT_CREATED, ..invalid(Vec::new()) },
            BulkRowOutcome::Unreadable => invalid(self.errors(errors.into_iter())),
            BulkRowOutcome::Failed => {
                RowResult { status: "failed", ..invalid(self.errors(std::iter::once(defect()))) }
            }
            BulkRowOutcome::Invalid(problems) => {
                let error = |problem: domain::InvalidField| {
                    InputError::field(problem.field.pointer(), problem.message)
                };
                invalid(self.errors(problems.into_iter().map(error)))
            }
        }
    }

    /// Serialises an order, if it fits.
    fn order(&mut self, order: &Order) -> Option<Box<RawValue>> {
        // An order that cannot fit is not serialised.
        self.bytes.checked_sub(order.approximate_bytes() / 2)?;
        let text = String::from_utf8(OrderView::created(order, &self.snapshot).json()).ok()?;
        self.bytes = self.bytes.checked_sub(text.len())?;
        RawValue::from_string(text).ok()
    }

    fn errors(&mut self, errors: impl Iterator<Item = InputError>) -> Vec<InputError> {
        let errors: Vec<InputError> = errors.take(self.errors).collect();
        self.errors -= errors.len();
        errors
    }
}
