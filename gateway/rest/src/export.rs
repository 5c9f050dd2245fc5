//! Exports of orders as CSV or as lines of JSON.
//!
//! The response is a stream: each page is read while the client receives the one before. An error in the middle aborts the
//! connection, so that the client does not take the part for the whole.

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use domain::Currency;
use domain::query::{Filter, Sort};
use domain::waiting::QueueSnapshot;
use futures_util::stream;
use gateway_store::Listed;
use http::header;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::api_error::{ApiError, LIST_UNAVAILABLE, ProblemSchema};
use super::csv;
use super::filter::{self, FilterParams};
use super::list::{STATUS, StatusParam, statuses};
use super::list_item::{self, ListedOrder};
use super::schema;
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::problem::Problem;
use gateway_http::query::Query;
use gateway_service::orders::Export;

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    Ndjson,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// Serialises a page.
    fn page(self, items: &[Listed], snapshot: &QueueSnapshot) -> Vec<u8> {
        let mut text = Vec::new();
        for item in items {
            match self {
                Self::Csv => csv::row(&mut text, item, snapshot),
                Self::Ndjson => {
                    text.extend(list_item::json(item, snapshot));
                    text.push(b'\n');
                }
            }
        }
        text
    }
}

/// The schema of the formats, for the documentation.
struct FormatWord;

impl PartialSchema for FormatWord {
    fn schema() -> RefOr<Schema> {
        schema::of(serde_json::json!({"type": "string", "enum": ["csv", "ndjson"]}))
    }
}

impl ToSchema for FormatWord {}

/// The parameter of the format, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by `read`")]
struct FormatParam {
    /// Format: one row of CSV or one line of JSON for each order. Default: `csv`.
    #[param(inline, value_type = Option<FormatWord>)]
    format: (),
}

/// Exports all orders that match, newest first, at most 1,000,000, as a file. If the export fails after its begin,
/// the connection is aborted. CSV marks strings that a spreadsheet would take for a formula with an apostrophe.
#[utoipa::path(
    get, path = "/orders/export", tag = "orders", operation_id = "exportOrders",
    params(FormatParam, FilterParams, StatusParam),
    responses(
        (status = 200, description = "The orders; each line of JSON is an order as in a list.",
            content((String = "text/csv"), (ListedOrder = "application/x-ndjson")),
            headers(("Content-Disposition" = String, description = "The name of the file."))),
        (status = 400, description = "`invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = LIST_UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn export(
    State(state): State<RestState>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let (format, filter) = read(query.as_deref(), state.orders.config().default_currency)?;
    let mut export = state.orders.export(&principal, filter)?;
    // The first page is read before the head, so that its error has a status.
    let first = export.next_page().await?.unwrap_or_default();
    let snapshot = state.orders.queue_snapshot();
    let mut text = match format {
        Format::Csv => csv::HEADER.as_bytes().to_vec(),
        Format::Ndjson => Vec::new(),
    };
    text.extend(format.page(&first, &snapshot));
    let time = state.orders.now().to_string();
    let stamp: String = time.chars().take(19).filter(char::is_ascii_alphanumeric).collect();
    let name = format!("attachment; filename=\"orders-{stamp}Z.{}\"", format.extension());
    let pages = stream::try_unfold((Some(text), export, state), move |(text, export, state)| {
        next(text, export, state, format)
    });
    let headers =
        [(header::CONTENT_TYPE, format.content_type().to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(pages)).into_response())
}

type Step = (Option<Vec<u8>>, Export, RestState);

/// Returns the text that is ready, or that of the next page.
async fn next(
    text: Option<Vec<u8>>,
    mut export: Export,
    state: RestState,
    format: Format,
) -> Result<Option<(Bytes, Step)>, gateway_service::Error> {
    if let Some(text) = text {
        return Ok(Some((text.into(), (None, export, state))));
    }
    // A page can be empty while a search continues.
    while let Some(items) = export.next_page().await? {
        if !items.is_empty() {
            let text = format.page(&items, &state.orders.queue_snapshot());
            return Ok(Some((text.into(), (None, export, state))));
        }
    }
    Ok(None)
}

fn read(query: Option<&str>, default_currency: Currency) -> Result<(Format, Filter), Problem> {
    let known: Vec<&str> = ["format", STATUS].into_iter().chain(filter::parameters()).collect();
    let mut query = Query::new(query, &known);
    let format = match query.one("format").as_deref() {
        None | Some("csv") => Format::Csv,
        Some("ndjson") => Format::Ndjson,
        Some(_) => {
            query.add("format", "must be csv or ndjson");
            Format::Csv
        }
    };
    let statuses = statuses(&mut query);
    let filter = filter::from_query(&mut query, statuses, Sort::default(), default_currency);
    query.finish()?;
    Ok((format, filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_a_format_and_a_filter() {
        let (format, filter) = read(Some("format=ndjson&status=failed&customer=Ann"), Currency::USD).unwrap();
        assert_eq!(
            (format, filter.statuses.len(), filter.customer.as_deref()),
            (Format::Ndjson, 1, Some("Ann"))
        );
        assert_eq!(read(None, Currency::USD).unwrap(), (Format::Csv, Filter::default()));
        for bad in ["format=xml", "limit=1", "sort=total", "status=done"] {
            assert!(read(Some(bad), Currency::USD).is_err(), "{bad}");
        }
    }
}
