//! GraphQL over HTTP: mutated documents and variables, by POST, GET and as streams.

use serde_json::{Value, json};

use crate::mutate::Random;
use crate::run::{Run, check_response, in_time};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// The documents. Subscriptions are of unknown orders, which end at once; others would wait.
fn documents() -> Vec<(String, Value)> {
    let create = json!({"input": {"item": "Tee", "quantity": 1, "price": "1.50", "currency": "EUR", "priority": "HIGH"}});
    let lines =
        json!({"input": {"lineItems": [{"item": "Tee", "quantity": 1, "price": 1}], "customer": "ann"}});
    let document = "mutation Create($input: CreateOrderInput!) { createOrder(input: $input) { order { ...all } \
         userErrors { code message field } idempotentReplay } } fragment all on Order { id status total currency \
         lineItems { item quantity price total } events(after: 0) { sequence status reason occurredAt } }";
    vec![
        (document.to_owned(), create),
        (document.to_owned(), lines),
        (
            "query List($first: Int = 2, $after: String, $filter: OrderFilter, $with: Boolean! = true) { orders(first: $first, \
             after: $after, filter: $filter, sort: TOTAL_DESC) { nodes { id @include(if: $with) status @skip(if: false) } \
             edges { cursor node { ... on Order { a: id } } } pageInfo { hasNextPage endCursor } } }"
                .to_owned(),
            json!({"first": 3, "filter": {"statuses": ["PENDING"], "customer": "ann", "totalFrom": "1.5", "itemContains": "t"}}),
        ),
        (
            "mutation($rows: [CreateOrderInput!]!) { createOrders(input: {orders: $rows, errorPolicy: REJECT_FAILED_ROWS}) \
             { results { order { id } userErrors { code field } } } }"
                .to_owned(),
            json!({"rows": [{"item": "a", "quantity": 1, "price": "1"}, {"item": "b", "quantity": 0, "price": "1"}]}),
        ),
        (
            format!("{{ order(id: \"{ID}\") {{ id }} queue {{ paused length counts {{ pending limit }} }} __typename }}"),
            Value::Null,
        ),
        (
            format!("mutation {{ a: cancelOrder(input: {{orderId: \"{ID}\", reason: \"\\u00e9\"}}) {{ order {{ id }} }} \
                     b: pauseQueue(input: {{until: \"2026-01-31T12:00:00Z\"}}) {{ queue {{ paused }} }} }}"),
            Value::Null,
        ),
        (
            "mutation($f: DeadLetterFilter!) { redriveOrders(input: {filter: $f, dryRun: true, limit: 3}) { count } }".to_owned(),
            json!({"f": {"errorClass": "x", "createdFrom": "2026-01-31T12:00:00Z"}}),
        ),
        ("subscription($id: ID!) { orderStatus(orderId: $id, after: 0) { status sequence } }".to_owned(), json!({"id": ID})),
        (
            "query IntrospectionQuery { __schema { types { name fields { name type { name ofType { name } } } } directives { name } } }"
                .to_owned(),
            Value::Null,
        ),
        ("{ ...a } fragment a on Query { ...b } fragment b on Query { queue { paused } }".to_owned(), Value::Null),
        ("# comment\nquery \"\"\"described\"\"\" { orders(filter: {customer: \"\"\" block \\\"\"\" \"\"\"}) { nodes { id } } }".to_owned(), Value::Null),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql() {
    let run = Run::start("graphql").await;
    let client = reqwest::Client::new();
    let documents = documents();
    run.repeat(async |mut random: Random| {
        let (document, variables) = random.pick(&documents).clone();
        let document = if random.once_in(4) { document } else { random.mutated_string(&document) };
        let variables = if random.once_in(3) { variables } else { random.json(&variables) };
        let mut request = json!({"query": document, "variables": variables});
        if random.once_in(4) {
            request["operationName"] = json!(random.string());
        }
        if random.once_in(8) {
            request = random.json(&request);
        }
        let accept = *random.pick(&[
            "application/json",
            "application/graphql-response+json",
            "text/event-stream",
            "*/*",
        ]);
        let builder = if random.once_in(5) {
            let mut url = reqwest::Url::parse(&format!("{}/graphql", run.url)).expect("a URL");
            for name in ["query", "variables", "operationName", "extensions"] {
                let text = request[name].as_str().map_or_else(|| request[name].to_string(), str::to_owned);
                url.query_pairs_mut().append_pair(name, &text);
            }
            client.get(url)
        } else {
            client
                .post(format!("{}/graphql", run.url))
                .header("content-type", "application/json")
                .body(request.to_string())
        };
        let answered = async {
            let mut response = builder.header("accept", accept).send().await?;
            let status = response.status().as_u16();
            let mut body = Vec::new();
            // A mutated subscription can follow an existing order; the start of its stream suffices.
            while let Ok(Ok(Some(chunk))) =
                tokio::time::timeout(std::time::Duration::from_secs(5), response.chunk()).await
            {
                body.extend_from_slice(&chunk);
                if accept == "text/event-stream" && body.len() > 3 {
                    break;
                }
            }
            Ok::<_, reqwest::Error>((status, body))
        };
        if let Ok((status, body)) = in_time(&request, answered).await {
            check_response(status, &body, &request);
        }
    })
    .await;
}
