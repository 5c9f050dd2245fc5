use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use domain::{OrderId, Status, Timestamp, text};
use http::header;
use url::form_urlencoded;
use utoipa::IntoParams;

use super::view::{OrderView, StatusWord};
use crate::App;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::orders::Filter;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;
/// What a list of dead letters can be asked for: everything but a status.
const KNOWN_OF_DEAD_LETTERS: &[&str] =
    &["limit", "after", "customer", "externalReference", "errorClass", "createdFrom", "createdBefore"];
const KNOWN: &[&str] = &[
    "limit",
    "after",
    "status",
    "customer",
    "externalReference",
    "errorClass",
    "createdFrom",
    "createdBefore",
];

/// What a list request asks for.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
struct ListQuery {
    /// Most orders on the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
    /// Only orders older than the one with this id; the `Link` header has it for the next page.
    #[param(value_type = Option<String>, format = Uuid)]
    after: Option<OrderId>,
    /// Only orders with one of these statuses: repeat the parameter or put commas between.
    #[param(value_type = Option<Vec<StatusWord>>)]
    status: Vec<Status>,
    /// Only orders of exactly this customer.
    #[param(max_length = 200)]
    customer: Option<String>,
    /// Only orders with exactly this reference.
    #[param(max_length = 200)]
    external_reference: Option<String>,
    /// Only orders whose latest event is a failure of exactly this class.
    #[param(max_length = 64)]
    error_class: Option<String>,
    /// Only orders created at or after this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    created_from: Option<Timestamp>,
    /// Only orders created before this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    created_before: Option<Timestamp>,
}

/// The parameters of a list of dead letters, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "read as a `ListQuery`")]
struct DeadLettersQuery {
    /// Most orders on the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: (),
    /// Only orders older than the one with this id.
    #[param(value_type = Option<String>, format = Uuid)]
    after: (),
    /// Only orders of exactly this customer.
    #[param(value_type = Option<String>, max_length = 200)]
    customer: (),
    /// Only orders with exactly this reference.
    #[param(value_type = Option<String>, max_length = 200)]
    external_reference: (),
    /// Only orders that failed with exactly this class.
    #[param(value_type = Option<String>, max_length = 64)]
    error_class: (),
    /// Only orders created at or after this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    created_from: (),
    /// Only orders created before this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    created_before: (),
}

impl ListQuery {
    fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut query = Query::new(query, known);
        let list = Self {
            limit: limit(&mut query),
            after: query.parse("after"),
            status: statuses(&mut query),
            customer: filter_text(&mut query, "customer", text::MAX_CUSTOMER),
            external_reference: filter_text(&mut query, "externalReference", text::MAX_EXTERNAL_REFERENCE),
            error_class: filter_text(&mut query, "errorClass", text::MAX_ERROR_CLASS),
            created_from: time(&mut query, "createdFrom"),
            created_before: time(&mut query, "createdBefore"),
        };
        query.finish()?;
        Ok(list)
    }

    /// The same list at the same path, continued after `last`.
    fn next(&self, path: &str, last: OrderId) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string()).append_pair("after", &last.to_string());
        for status in &self.status {
            query.append_pair("status", status.as_str());
        }
        let texts = [
            ("customer", &self.customer),
            ("externalReference", &self.external_reference),
            ("errorClass", &self.error_class),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let times = [("createdFrom", self.created_from), ("createdBefore", self.created_before)];
        for (name, value) in times {
            if let Some(value) = value {
                query.append_pair(name, &value.to_string());
            }
        }
        format!("{path}?{}", query.finish())
    }
}

fn limit(query: &mut Query<'_>) -> u32 {
    let Some(text) = query.one("limit") else { return DEFAULT_LIMIT };
    match text.parse() {
        Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => limit,
        _ => {
            query.add("limit", format!("must be a whole number from 1 to {MAX_LIMIT}"));
            DEFAULT_LIMIT
        }
    }
}

fn statuses(query: &mut Query<'_>) -> Vec<Status> {
    let mut statuses = Vec::new();
    for word in query.all("status").iter().flat_map(|value| value.split(',')) {
        match word.parse() {
            Ok(status) if statuses.contains(&status) => {}
            Ok(status) => statuses.push(status),
            Err(domain::status::InvalidStatus) => {
                query.add("status", domain::status::InvalidStatus.to_string());
                break;
            }
        }
    }
    statuses
}

fn filter_text(query: &mut Query<'_>, name: &'static str, max: usize) -> Option<String> {
    let value = query.one(name)?;
    match text::check(&value, max) {
        Ok(()) => Some(value),
        Err(message) => {
            query.add(name, message);
            None
        }
    }
}

fn time(query: &mut Query<'_>, name: &'static str) -> Option<Timestamp> {
    // An offset's `+` that the client forgot to escape arrives as a space, which no time has.
    let text = query.one(name)?.replace(' ', "+");
    match text.parse() {
        Ok(time) => Some(time),
        Err(error) => {
            let error: domain::InvalidTimestamp = error;
            query.add(name, format!("is {error}"));
            None
        }
    }
}

/// Lists orders, newest first, a page at a time. While a `Link` header with `rel="next"` comes,
/// there are older ones; orders that are created meanwhile never shift the pages.
#[utoipa::path(
    get, path = "/orders", tag = "orders", operation_id = "listOrders", params(ListQuery),
    responses(
        (status = 200, description = "A page of orders; any other parameter is refused.", body = Vec<OrderView>,
            headers(("Link" = String, description = "`<…>; rel=\"next\"`: where the next page is."))),
        (status = 400, description = "`invalid_query`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = crate::http::problem::UNAVAILABLE, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = ListQuery::read(query.as_deref(), KNOWN)?;
    page(&app, "/orders", &query, query.status.clone()).await
}

/// Lists dead letters, the orders that are `failed`, newest first, a page at a time as for `/orders`.
#[utoipa::path(
    get, path = "/dead-letters", tag = "dead letters", operation_id = "listDeadLetters", params(DeadLettersQuery),
    responses(
        (status = 200, description = "A page of failed orders, each with its `reason`, `errorClass` and `failures`.", body = Vec<OrderView>,
            headers(("Link" = String, description = "`<…>; rel=\"next\"`: where the next page is."))),
        (status = 400, description = "`invalid_query`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database_unavailable`, `overloaded`: try again after `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn dead_letters(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = ListQuery::read(query.as_deref(), KNOWN_OF_DEAD_LETTERS)?;
    page(&app, "/dead-letters", &query, vec![Status::Failed]).await
}

async fn page(app: &App, path: &str, query: &ListQuery, statuses: Vec<Status>) -> Result<Response, Problem> {
    let filter = Filter {
        statuses,
        customer: query.customer.clone(),
        external_reference: query.external_reference.clone(),
        error_class: query.error_class.clone(),
        created_from: query.created_from,
        created_before: query.created_before,
    };
    let page = app.orders.list(&filter, query.after, query.limit).await?;
    let next = page.orders.last().filter(|_| page.has_more).map(|last| query.next(path, last.id));
    let link = next.map(|next| [(header::LINK, format!("<{next}>; rel=\"next\""))]);
    let orders: Vec<OrderView> = page.orders.into_iter().map(Into::into).collect();
    Ok((link, Json(orders)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn without_parameters_there_is_a_page_of_everything() {
        let list = ListQuery::read(None, KNOWN).unwrap();
        assert_eq!((list.limit, list.after, list.status.len()), (100, None, 0));
    }

    #[test]
    fn every_filter_survives_in_the_link() {
        let query = format!(
            "limit=7&after={ID}&status=failed,pending&status=failed&customer=A%26B%20%C3%A4&externalReference=%2B1\
             &errorClass=http_503\
             &createdFrom=2026-01-31T12:00:00+01:00&createdBefore=2026-02-01T00:00:00Z"
        );
        let list = ListQuery::read(Some(&query), KNOWN).unwrap();
        assert_eq!(list.status, [Status::Failed, Status::Pending]);
        assert_eq!(list.customer.as_deref(), Some("A&B ä"));
        assert_eq!(list.created_from.unwrap().to_string(), "2026-01-31T11:00:00.000000Z");
        let next = list.next("/orders", ID.parse().unwrap());
        let (path, next) = next.split_once('?').unwrap();
        assert_eq!(path, "/orders");
        assert_eq!(ListQuery::read(Some(next), KNOWN).unwrap(), list);
        assert!(
            ListQuery::read(Some(&query), KNOWN_OF_DEAD_LETTERS).is_err(),
            "their status is not asked for"
        );
    }

    #[test]
    fn unusable_parameters_are_named() {
        for (query, name) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=ten", "limit"),
            ("limit=1&limit=2", "limit"),
            ("after=1", "after"),
            ("status=done", "status"),
            ("status=", "status"),
            ("customer=", "customer"),
            ("createdFrom=yesterday", "createdFrom"),
            ("offset=10", "offset"),
        ] {
            let problem = serde_json::to_value(ListQuery::read(Some(query), KNOWN).unwrap_err()).unwrap();
            assert_eq!(problem["code"], "invalid_query");
            assert_eq!(problem["errors"][0]["parameter"], name, "{query}");
        }
    }
}
