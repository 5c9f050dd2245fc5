//! Tests which documents are valid, and which operation is executed.

use async_graphql::parser::types::{Selection, SelectionSet};
use async_graphql::{Name, ServerError};
use serde_json::{Value as Json, json};

use super::{Coerced, DocumentError, Language};
use crate::config::Config;

fn limits() -> Config {
    Config::default()
}

/// Returns the executed operation in one line.
fn selected(text: &str, name: Option<&str>, variables: Json) -> Result<String, Vec<ServerError>> {
    let language = Language::new();
    let document = language.read(text, &limits()).map_err(|error| match error {
        DocumentError::LimitExceeded(exceeded) => vec![ServerError::new(exceeded.message, None)],
        DocumentError::Invalid(errors) => errors,
    })?;
    let plan = document.operation(name).unwrap();
    let one = |error| vec![error];
    let variables = language.coerce(plan, variables.as_object().unwrap().clone()).map_err(one)?;
    let operation = plan.select(&variables).map_err(one)?;
    Ok(written(&operation.selection_set.node, &variables))
}

fn written(set: &SelectionSet, variables: &Coerced) -> String {
    let one = |selection: &Selection| match selection {
        Selection::Field(field) => {
            let field = &field.node;
            assert!(field.directives.is_empty());
            let mut text = String::new();
            if let Some(alias) = &field.alias {
                text += &format!("{}:", alias.node);
            }
            text += field.name.node.as_str();
            if !field.arguments.is_empty() {
                let arguments = field.arguments.iter().map(|(name, value)| {
                    let known = |name: Name| variables.get(&name).cloned().ok_or(name);
                    format!("{}:{}", name.node, value.node.clone().into_const_with(known).unwrap())
                });
                text += &format!("({})", arguments.collect::<Vec<_>>().join(","));
            }
            if !field.selection_set.node.items.is_empty() {
                text += &written(&field.selection_set.node, variables);
            }
            text
        }
        Selection::InlineFragment(inline) => {
            let on = &inline.node.type_condition.as_ref().unwrap().node.on.node;
            format!("...{on}{}", written(&inline.node.selection_set.node, variables))
        }
        Selection::FragmentSpread(spread) => panic!("{} is not expanded", spread.node.fragment_name.node),
    };
    let items: Vec<String> = set.items.iter().map(|item| one(&item.node)).collect();
    format!("{{{}}}", items.join(" "))
}

#[test]
fn operation_becomes_fields_with_values() {
    for (text, variables, expected) in [
        ("{orders(first:1){nodes{id}}}", json!({}), "{orders(first:1){nodes{id}}}"),
        // Fields with the same key are merged, also from fragments.
        (
            "{orders(first:1){nodes{id}} ...F} fragment F on Query{orders(first:1){nodes{id status}}}",
            json!({}),
            "{orders(first:1){nodes{id status}}}",
        ),
        (
            "{node(id:1){id ...on Order{status} ...on Node{id}}}",
            json!({}),
            "{node(id:\"1\"){...Order{id status}}}",
        ),
        (
            "subscription{orderEvents{...on OrderFeedLag{missed} ...on OrderStatusEvent{status} __typename}}",
            json!({}),
            "{orderEvents{...OrderStatusEvent{status __typename} ...OrderFeedLag{missed __typename}}}",
        ),
        // The root of a subscription.
        (
            "subscription($b:Boolean=true){...@include(if:$b){orderEvents{__typename}} orderEvents{__typename}}",
            json!({}),
            "{orderEvents{...OrderStatusEvent{__typename} ...OrderFeedLag{__typename}}}",
        ),
        ("subscription($b:Boolean=true){orderEvents@skip(if:$b){__typename}}", json!({}), "{}"),
        // Defaults, given values, and absent variables.
        (
            "query($w:Boolean!=true){orders(first:1){nodes{id status@include(if:$w)}}}",
            json!({}),
            "{orders(first:1){nodes{id status}}}",
        ),
        (
            "query($w:Boolean!=true){orders(first:1){nodes{id status@skip(if:$w)}}}",
            json!({}),
            "{orders(first:1){nodes{id}}}",
        ),
        ("query($n:Int){orders(first:$n){nodes{id}}}", json!({}), "{orders{nodes{id}}}"),
        ("query($n:Int){orders(first:$n){nodes{id}}}", json!({"n": null}), "{orders(first:null){nodes{id}}}"),
        ("query($n:Int){orders(first:$n){nodes{id}}}", json!({"n": 1.0}), "{orders(first:1){nodes{id}}}"),
        ("query($n:Int=3){orders(first:$n){nodes{id}}}", json!({}), "{orders(first:3){nodes{id}}}"),
        (
            "mutation($d:Boolean){redriveOrders(input:{filter:{},dryRun:$d}){count}}",
            json!({}),
            "{redriveOrders(input:{filter: {}}){count}}",
        ),
        // A single value becomes a list.
        (
            "{orders(filter:{statuses:FAILED}){nodes{id}}}",
            json!({}),
            "{orders(filter:{statuses: [FAILED]}){nodes{id}}}",
        ),
        (
            "query($s:[OrderStatus!]){orders(filter:{statuses:$s}){nodes{id}}}",
            json!({"s": "FAILED"}),
            "{orders(filter:{statuses: [FAILED]}){nodes{id}}}",
        ),
        // Strings.
        (
            r#"{a:order(id:"\uD83D\uDE00"){id} b:order(id:"\u{1F600}"){id} c:order(id:"""
                x
                  y \"""
            """){id}}"#,
            json!({}),
            "{a:order(id:\"😀\"){id} b:order(id:\"😀\"){id} c:order(id:\"x\\n  y \\\"\\\"\\\"\"){id}}",
        ),
        ("query($i:ID!){order(id:$i){id}}", json!({"i": 7}), "{order(id:\"7\"){id}}"),
        ("{order(id:1){...on#c\nOrder{id}}}", json!({}), "{order(id:\"1\"){id}}"),
        ("\"what it does\" query{__typename}", json!({}), "{__typename}"),
    ] {
        assert_eq!(selected(text, None, variables).unwrap(), expected, "{text}");
    }
}

#[test]
fn operations_of_one_document_have_separate_variables() {
    let text = "mutation Create($input:CreateOrderInput!){createOrder(input:$input){...P}} \
                mutation Cancel($input:CancelOrderInput!){cancelOrder(input:$input){order{id}}} \
                fragment P on CreateOrderPayload{order{id}}";
    let input = json!({"input": {"item": "x", "quantity": 1.0, "price": "1"}});
    let expected = "{createOrder(input:{item: \"x\", price: \"1\", quantity: 1}){order{id}}}";
    assert_eq!(selected(text, Some("Create"), input).unwrap(), expected);
    let text = "query A($x:ID!){order(id:$x){id}} query B($x:Int){orders(first:$x){nodes{id}}}";
    assert_eq!(selected(text, Some("B"), json!({"x": 2})).unwrap(), "{orders(first:2){nodes{id}}}");
}

#[test]
fn invalid_operations_are_refused_before_execution() {
    let refused = |text: &str, variables: Json| {
        let errors = selected(text, None, variables).unwrap_err();
        errors.into_iter().next().unwrap().message
    };
    for (text, variables, words) in [
        // Variables.
        ("query($n:Int){orders(first:$n){nodes{id}}}", json!({"n": 2_147_483_648_i64}), "2147483648"),
        ("query($n:Int){orders(first:$n){nodes{id}}}", json!({"n": 1.5}), "1.5"),
        ("query($n:Int){orders(first:$n){nodes{id}}}", json!({"n": "1"}), "\"1\""),
        ("query($n:Int!){orders(first:$n){nodes{id}}}", json!({}), "required"),
        ("query($n:Int!){orders(first:$n){nodes{id}}}", json!({"n": null}), "required"),
        (
            "query($f:OrderFilter){orders(filter:$f){nodes{id}}}",
            json!({"f": {"createdFrom": "nonsense"}}),
            "$f.createdFrom",
        ),
        ("query($f:OrderFilter){orders(filter:$f){nodes{id}}}", json!({"f": {"nope": 1}}), "nope"),
        (
            "query($f:OrderFilter){orders(filter:$f){nodes{id}}}",
            json!({"f": {"statuses": ["X"]}}),
            "$f.statuses[0]",
        ),
        (
            "mutation($l:[LineItemInput!]){createOrder(input:{lineItems:$l}){order{id}}}",
            json!({"l": [{}]}),
            "required",
        ),
        (
            "mutation($p:Decimal){createOrder(input:{price:$p}){order{id}}}",
            json!({"p": 1_299.990_000_000_000_2}),
            "$p",
        ),
        ("query($w:Boolean=true){orders{nodes{id@include(if:$w)}}}", json!({"w": null}), "null"),
        (
            "mutation($d:Boolean=false){redriveOrders(input:{filter:{},dryRun:$d}){count}}",
            json!({"d": null}),
            "null",
        ),
        // Literals.
        ("{orders(first:2147483648){nodes{id}}}", json!({}), "2147483648"),
        ("{orders(first:1.0){nodes{id}}}", json!({}), "1.0"),
        ("{orders(sort:\"TOTAL_DESC\"){nodes{id}}}", json!({}), "TOTAL_DESC"),
        ("{orders(filter:{createdFrom:\"nonsense\"}){nodes{id}}}", json!({}), "DateTime"),
        ("{orders(filter:{createdFrom:{a:1}}){nodes{id}}}", json!({}), "DateTime"),
        ("{orders(filter:{totalFrom:X}){nodes{id}}}", json!({}), "Decimal"),
        ("{orders(filter:{totalFrom:1299.9900000000002}){nodes{id}}}", json!({}), "Decimal"),
        ("{orders(filter:{customer:\"a\",customer:\"b\"}){nodes{id}}}", json!({}), "customer"),
        ("query($f:OrderFilter={createdFrom:\"x\"}){orders(filter:$f){nodes{id}}}", json!({}), "DateTime"),
        (
            "query($x:OrderFilter={customer:\"a\",customer:\"b\"}){orders(filter:$x){nodes{id}}}",
            json!({}),
            "customer",
        ),
        // Positions of variables.
        ("query($n:String){orders(first:$n){nodes{id}}}", json!({}), "$n"),
        ("query($n:Boolean!){orders(filter:{customer:$n}){nodes{id}}}", json!({"n": true}), "$n"),
        ("query($o:OrderEventFilter){orders(filter:$o){nodes{id}}}", json!({}), "$o"),
        ("query($n:[Int!]){orders(first:$n){nodes{id}}}", json!({}), "$n"),
        ("query($i:ID){order(id:$i){id}}", json!({}), "$i"),
        ("query($b:Boolean){orders{nodes{id@skip(if:$b)}}}", json!({}), "$b"),
        ("query($s:OrderStatus){orders(filter:{statuses:[$s]}){nodes{id}}}", json!({}), "$s"),
        ("query($s:[OrderStatus]){orders(filter:{statuses:$s}){nodes{id}}}", json!({}), "$s"),
        ("query($s:[OrderStatus!]){orders(filter:{statuses:[$s]}){nodes{id}}}", json!({}), "$s"),
        ("query($i:ID=null){order(id:$i){id}}", json!({}), "$i"),
        // Fields that cannot be merged.
        (
            "{orders(first:1){nodes{...on Order{events(after:0){sequence}}} nodes{...on Node{...on Order{events(after:2){sequence}}}}}}",
            json!({}),
            "events",
        ),
        ("{orders(first:1){nodes{a:id}} orders(first:1){nodes{a:status}}}", json!({}), "a"),
        (
            "{orders{...A ...B}} fragment A on OrderConnection{nodes{a:id}} fragment B on OrderConnection{nodes{a:status}}",
            json!({}),
            "a",
        ),
        ("{orders{nodes{a:id ...on Order{a:status}}}}", json!({}), "a"),
        (
            "subscription{orderEvents{...on OrderStatusEvent{x:status} ...on OrderFeedLag{x:missed}}}",
            json!({}),
            "x",
        ),
        // Other rules.
        ("{__typename@nope}", json!({}), "nope"),
        ("{__typename@skip(iff:true)}", json!({}), "if"),
        ("{__typename@skip(if:true)@skip(if:true)}", json!({}), "skip"),
        ("{__typename{x}}", json!({}), ""),
        ("{__typename(a:1)}", json!({}), "a"),
        ("queryFoo{__typename}", json!({}), ""),
        ("query(){__typename}", json!({}), ""),
        ("query($x:Int=1@d){orders(first:$x){nodes{id}}}", json!({}), "d"),
        ("subscription@nope{orderEvents{__typename}}", json!({}), "nope"),
        ("subscription{__typename}", json!({}), ""),
        ("subscription{orderEvents{__typename} b:orderEvents{__typename}}", json!({}), "exactly one"),
        ("fragment A on Query{__typename} fragment A on Query{__typename} {...A}", json!({}), "A"),
        ("{order(id:\"\\uD83D\"){id}}", json!({}), ""),
        ("{orders{nodes{id @defer}}}", json!({}), "defer"),
        ("{...@defer{__typename}}", json!({}), "defer"),
        ("type A{b:Int} {__typename}", json!({}), ""),
    ] {
        let message = refused(text, variables);
        assert!(message.contains(words), "{text}: {message}");
    }
}

#[test]
fn errors_have_locations() {
    let language = Language::new();
    for (text, line, column) in [
        ("{\n  é: __typename }", 2, 3),
        ("{\r\n  order(id: 1) { nope }\r\n}", 2, 18),
        ("{ orders(first: 99999999999) { nodes { id } } }", 1, 17),
    ] {
        let Err(DocumentError::Invalid(errors)) = language.read(text, &limits()) else { panic!("{text}") };
        let place = errors[0].locations[0];
        assert_eq!((place.line, place.column), (line, column), "{text}: {errors:?}");
    }
}

/// Every kind of nesting is limited before it exhausts a stack of 1 MiB.
#[test]
fn deep_documents_do_not_exhaust_a_small_stack() {
    let nested =
        |open: &str, inside: &str, close: &str, n| format!("{}{inside}{}", open.repeat(n), close.repeat(n));
    let documents: Vec<String> = [10, 30, 63, 64, 200, 4_000]
        .into_iter()
        .flat_map(|n| {
            [
                nested("{a", "", "}", n),
                nested("{...", "{a}", "}", n),
                format!("{{order(id:{}){{id}}}}", nested("[", "1", "]", n)),
                format!("{{order(id:{}){{id}}}}", nested("{a:", "1", "}", n)),
                format!("query($a:{}){{order(id:$a){{id}}}}", nested("[", "Int", "]", n)),
                nested("[", "", "", n),
                nested("(", "", ")", n),
                nested("\"", "", "", n),
                nested("{a@include(if:[", "", "", n),
            ]
        })
        .collect();
    let read = move || {
        let language = Language::new();
        for document in documents {
            // The test passes with either kind of error.
            drop(language.read(&document, &limits()));
        }
    };
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(read).unwrap().join().unwrap();
}

#[test]
fn plan_knows_whether_it_selects_long_lists() {
    let language = Language::new();
    let input = "input: {item: \"x\", quantity: 1, price: \"1\"}";
    for (selected, long) in [
        ("order { id status } userErrors { code message field }", false),
        ("...Errors", false),
        ("order { lineItems { item } }", true),
        ("order { id ... on Order { events { sequence } } }", true),
    ] {
        let text = format!(
            "mutation {{ createOrder({input}) {{ {selected} }} }} \
             fragment Errors on CreateOrderPayload {{ userErrors {{ field }} }}"
        );
        let text = if selected.starts_with("...") { text } else { text.replace(" fragment", "#") };
        let document = language.read(&text, &limits()).ok().unwrap();
        assert_eq!(document.operation(None).unwrap().has_lists, long, "{selected}");
    }
}

#[test]
fn operation_depends_on_the_variables_of_each_request() {
    let text = "mutation ($input: CreateOrderInput!, $key: String) {
        createOrder(input: $input, idempotencyKey: $key) { order { id id } order { status } }
    }";
    let input = json!({"item": "x", "quantity": 1, "price": "1"});
    let all = |key: Json| json!({"input": input, "key": key});
    let with = |key: &str| {
        format!(
            "{{createOrder(input:{{item: \"x\", price: \"1\", quantity: 1}}{key}){{order{{id status}}}}}}"
        )
    };
    assert_eq!(selected(text, None, all("a".into())).unwrap(), with(",idempotencyKey:\"a\""));
    assert_eq!(selected(text, None, all(Json::Null)).unwrap(), with(",idempotencyKey:null"));
    let without = json!({"input": input});
    assert_eq!(selected(text, None, without).unwrap(), with(""));
}
