use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use domain::waiting::QueueSnapshot;
use domain::{Currency, Principal, Status};
use http::header;
use url::form_urlencoded;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::api_error::{ApiError, LIST_UNAVAILABLE, ProblemSchema};
use super::filter::{self, FilterParams};
use super::list_item::{self, ListedOrder};
use super::order_view::StatusWord;
use super::schema;
use crate::RestState;
use domain::query::{Position, Sort};
use gateway_http::auth::Caller;
use gateway_http::problem::Problem;
use gateway_http::query::Query;
use gateway_service::orders::{ListQuery, Page, PageCursor, Take};
use gateway_store::Listed;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;
/// The parameters of the page, in the order of [`PageParams`]. The others are those of the filter.
const PAGE: [&str; 4] = ["limit", "sort", "after", "before"];
/// The additional parameter of a list of all orders.
pub(super) const STATUS: &str = "status";

/// The schema of the sort orders, for the documentation.
struct SortWord;

impl PartialSchema for SortWord {
    fn schema() -> RefOr<Schema> {
        schema::of(
            serde_json::json!({"type": "string", "enum": ["-createdAt", "createdAt", "-total", "total"]}),
        )
    }
}

impl ToSchema for SortWord {
    fn name() -> std::borrow::Cow<'static, str> {
        "Sort".into()
    }
}

/// The parameters of the page, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "read as a `ListRequest`")]
struct PageParams {
    /// Maximum number of orders on the page. Default: 100.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: (),
    /// Sort order: by creation or by total, descending with a minus. Default: `-createdAt`. A list by total
    /// contains one currency; equal totals are sorted by creation.
    #[param(inline, value_type = Option<SortWord>)]
    sort: (),
    /// Return orders after this cursor; the `Link` header contains it for the next page. With a sort by
    /// creation, an order id is also a cursor.
    #[param(value_type = Option<String>, min_length = 1, max_length = 200)]
    after: (),
    /// Return orders before this cursor; the `Link` header contains it for the previous page. The page
    /// contains the orders next to it, or with `after` the orders next to that cursor.
    #[param(value_type = Option<String>, min_length = 1, max_length = 200)]
    before: (),
}

/// The parameter that only lists of all orders have, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read as a `ListRequest`")]
pub(super) struct StatusParam {
    /// Statuses: repeat the parameter or separate them with commas.
    #[param(value_type = Option<Vec<StatusWord>>)]
    status: (),
}

/// A parsed list request.
#[derive(Debug)]
struct ListRequest {
    listing: ListQuery,
    /// The parameters of the request without the cursors, for the links.
    pairs: Vec<(String, String)>,
}

impl ListRequest {
    /// Parses a query string. `only` is the fixed status of a list that cannot be filtered by status.
    fn read(query: Option<&str>, only: Option<Status>, default_currency: Currency) -> Result<Self, Problem> {
        let status = if only.is_some() { None } else { Some(STATUS) };
        let known: Vec<&str> = PAGE.into_iter().chain(filter::parameters()).chain(status).collect();
        let mut query = Query::new(query, &known);
        let pairs = query.pairs_without(&["after", "before"]);
        let limit = limit(&mut query, DEFAULT_LIMIT);
        let sort = query.parse("sort").unwrap_or_default();
        let statuses = only.map_or_else(|| statuses(&mut query), |status| vec![status]);
        let filter = filter::from_query(&mut query, statuses, sort, default_currency);
        let currency = filter.currency;
        let mut place = |name| place(&mut query, name, sort, currency);
        let (after, before) = (place("after"), place("before"));
        let backwards = before.is_some() && after.is_none();
        let take = if backwards { Take::Last(limit) } else { Take::First(limit) };
        query.finish()?;
        Ok(Self { listing: ListQuery { filter, sort, after, before, take }, pairs })
    }

    /// Returns the `Link` header of a page at `path`; `None` without any link.
    fn links(&self, path: &str, page: &Page) -> Option<String> {
        let sort = self.listing.sort;
        let link = |relation: &str, place: Option<(&str, PageCursor)>| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(&self.pairs);
            if let Some((name, cursor)) = place {
                query.append_pair(name, &cursor.to_string());
            }
            let query = query.finish();
            let mark = if query.is_empty() { "" } else { "?" };
            format!("<{path}{mark}{query}>; rel=\"{relation}\"")
        };
        let cursor = |item: &Listed| PageCursor::at(item.position(), sort, self.listing.filter.currency);
        let next = page.items.last().filter(|_| page.has_next).map(|last| ("after", cursor(last)));
        let previous =
            page.items.first().filter(|_| page.has_previous).map(|first| ("before", cursor(first)));
        let by_cursor = self.listing.after.or(self.listing.before).is_some();
        let links: Vec<String> = [
            next.map(|place| link("next", Some(place))),
            previous.map(|place| link("prev", Some(place))),
            by_cursor.then(|| link("first", None)),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!links.is_empty()).then(|| links.join(", "))
    }
}

/// Parses `limit`, of at most [`MAX_LIMIT`].
pub(super) fn limit(query: &mut Query<'_>, default: u32) -> u32 {
    let Some(text) = query.one("limit") else { return default };
    match text.parse() {
        Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => limit,
        _ => {
            query.add("limit", format!("must be a whole number from 1 to {MAX_LIMIT}"));
            default
        }
    }
}

/// Parses the statuses of a filter.
pub(super) fn statuses(query: &mut Query<'_>) -> Vec<Status> {
    let mut statuses = Vec::new();
    for word in query.all(STATUS).iter().flat_map(|value| value.split(',')) {
        match word.parse() {
            Ok(status) => statuses.push(status),
            Err(domain::status::InvalidStatus) => {
                query.add(STATUS, domain::status::InvalidStatus.to_string());
                break;
            }
        }
    }
    statuses
}

fn place(
    query: &mut Query<'_>,
    name: &'static str,
    sort: Sort,
    currency: Option<Currency>,
) -> Option<Position> {
    let text = query.one(name)?;
    match PageCursor::read_or_id(&text, sort, currency) {
        Ok(position) => Some(position),
        Err(error) => {
            query.add(name, error.to_string());
            None
        }
    }
}

/// Lists orders, newest first, in pages. The Link header contains the next and the previous page; new orders do
/// not shift the pages. A page of large orders can be shorter than limit: only a page without rel="next" is the
/// last one. An unreadable order is listed with id and unreadable.
#[utoipa::path(
    get, path = "/orders", tag = "orders", operation_id = "listOrders", params(PageParams, FilterParams, StatusParam),
    responses(
        (status = 200, description = "A page of orders; unknown parameters are rejected.", body = Vec<ListedOrder>,
            headers(("Link" = String, description = "The pages around this one, as far as there are any: `<…>; rel=\"next\"`, `rel=\"prev\"`, and `rel=\"first\"` on a page that was reached by a cursor."))),
        (status = 400, description = "`invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = LIST_UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<RestState>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    page(&state, &principal, "/orders", query.as_deref(), None).await
}

/// Lists dead letters, the orders that are `failed`, newest first, a page at a time as for `/orders`.
#[utoipa::path(
    get, path = "/dead-letters", tag = "dead letters", operation_id = "listDeadLetters", params(PageParams, FilterParams),
    responses(
        (status = 200, description = "A page of failed orders, each with its `reason`, `errorClass` and `failures`.", body = Vec<ListedOrder>,
            headers(("Link" = String, description = "As for `/orders`."))),
        (status = 400, description = "`invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = LIST_UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn dead_letters(
    State(state): State<RestState>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    page(&state, &principal, "/dead-letters", query.as_deref(), Some(Status::Failed)).await
}

async fn page(
    state: &RestState,
    principal: &Principal,
    path: &str,
    query: Option<&str>,
    only: Option<Status>,
) -> Result<Response, ApiError> {
    let query = ListRequest::read(query, only, state.orders.config().default_currency)?;
    let mut page =
        state.orders.list(principal, query.listing.clone(), state.context.limits.max_response_size).await?;
    let body = body(
        &mut page,
        query.listing.take,
        state.context.limits.max_response_size,
        &state.orders.queue_snapshot(),
    );
    let link = query.links(path, &page).map(|links| [(header::LINK, links)]);
    Ok(([(header::CONTENT_TYPE, "application/json")], link, body).into_response())
}

/// Serialises a page as a JSON array of at most `bytes` bytes.
///
/// Orders that do not fit are removed from the end that is farthest from the cursor. The link to the next or previous
/// page then leads to them. At least one order remains.
fn body(page: &mut Page, take: Take, bytes: usize, snapshot: &QueueSnapshot) -> Vec<u8> {
    let mut texts: Vec<Vec<u8>> = Vec::with_capacity(page.items.len());
    let mut length = 2;
    let mut fits = |item: &Listed| {
        let text = list_item::json(item, snapshot);
        length += text.len() + 1;
        let fits = texts.is_empty() || length <= bytes;
        if fits {
            texts.push(text);
        }
        fits
    };
    match take {
        Take::First(_) => {
            let kept = page.items.iter().take_while(|item| fits(item)).count();
            page.has_next |= kept < page.items.len();
            page.items.truncate(kept);
        }
        Take::Last(_) => {
            let kept = page.items.iter().rev().take_while(|item| fits(item)).count();
            page.has_previous |= kept < page.items.len();
            page.items.drain(..page.items.len() - kept);
            texts.reverse();
        }
    }
    let mut body = Vec::with_capacity(length);
    body.push(b'[');
    for (n, text) in texts.iter().enumerate() {
        body.extend_from_slice(if n == 0 { b"" } else { b"," });
        body.extend_from_slice(text);
    }
    body.push(b']');
    body
}

#[cfg(test)]
mod tests {
    use domain::ErrorCode;
    use domain::query::Filter;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn read(query: &str) -> Result<ListRequest, Problem> {
        ListRequest::read(Some(query), None, Currency::USD)
    }

    #[test]
    fn page_without_parameters_has_no_filter() {
        let ListQuery { filter, sort, after, before, take } =
            ListRequest::read(None, None, Currency::USD).unwrap().listing;
        assert_eq!((filter, sort), (Filter::default(), Sort::default()));
        assert_eq!((after, before, take), (None, None, Take::First(100)));
        let dead = ListRequest::read(None, Some(Status::Failed), Currency::USD).unwrap();
        assert_eq!(dead.listing.filter.statuses, [Status::Failed]);
    }

    #[test]
    fn links_keep_every_filter() {
        let query = format!(
            "limit=7&status=failed,pending&status=failed&customer=A%26B%20%C3%A4&externalReference=%2B1\
             &search=x&customerPrefix=a&referencePrefix=%2B&errorClass=http_503&reason=HTTP+*&itemContains=%25%3E&currency=EUR&totalFrom=1.5&totalTo=7&sort=createdAt\
             &createdFrom=2026-01-31T12:00:00+01:00&createdBefore=2026-02-01T00:00:00Z&after={ID}"
        );
        let list = read(&query).unwrap();
        let filter = &list.listing.filter;
        assert_eq!(filter.statuses, [Status::Failed, Status::Pending]);
        assert_eq!(filter.customer.as_deref(), Some("A&B ä"));
        assert_eq!(filter.created_from.unwrap().to_string(), "2026-01-31T11:00:00.000000Z");
        assert_eq!((filter.total_from, filter.total_to), (Some(150), Some(700)));
        let page = Page { items: Vec::new(), has_previous: true, has_next: true };
        let links = list.links("/orders", &page).unwrap();
        let first = links.strip_prefix("</orders?").unwrap().strip_suffix(">; rel=\"first\"").unwrap();
        let again = read(first).unwrap().listing;
        assert_eq!((&again.filter, again.sort, again.take), (filter, list.listing.sort, list.listing.take));
        assert_eq!(again.after, None);
    }

    #[test]
    fn page_between_two_cursors_begins_at_the_first() {
        let list = read(&format!("limit=7&after={ID}&before={ID}")).unwrap().listing;
        assert!(list.after.is_some() && list.before.is_some());
        assert_eq!(list.take, Take::First(7));
        assert_eq!(read(&format!("limit=7&before={ID}")).unwrap().listing.take, Take::Last(7));
    }

    #[test]
    fn invalid_parameters_are_reported() {
        for (query, name) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=ten", "limit"),
            ("limit=1&limit=2", "limit"),
            ("sort=updatedAt", "sort"),
            ("sort=total,createdAt", "sort"),
            ("sort=", "sort"),
            ("after=1", "after"),
            ("before=1", "before"),
            (&format!("sort=total&after={ID}"), "after"),
            ("status=done", "status"),
            ("status=", "status"),
            ("customer=", "customer"),
            ("customerPrefix=", "customerPrefix"),
            ("search=%20", "search"),
            ("waitsFor=nothing", "waitsFor"),
            ("waitsFor=retry&status=failed", "waitsFor"),
            ("currency=EURO", "currency"),
            ("totalFrom=1,5", "totalFrom"),
            ("totalFrom=-1", "totalFrom"),
            ("currency=JPY&totalTo=1.5", "totalTo"),
            ("itemContains=", "itemContains"),
            ("createdFrom=yesterday", "createdFrom"),
            ("offset=10", "offset"),
        ] {
            let problem = serde_json::to_value(read(query).unwrap_err()).unwrap();
            assert_eq!(problem["code"], "invalid_input");
            assert_eq!(problem["errors"][0]["parameter"], name, "{query}");
        }
        let dead = ListRequest::read(Some("status=failed"), Some(Status::Failed), Currency::USD).unwrap_err();
        assert_eq!(dead.code(), ErrorCode::InvalidInput, "their status is not asked for");
    }

    #[test]
    fn the_limits_are_documented() {
        let count = |number: u32| limits_page::count(number as usize);
        limits_page::row(
            "orders on a page",
            &format!("{}, at most {}", count(DEFAULT_LIMIT), count(MAX_LIMIT)),
        );
    }
}
