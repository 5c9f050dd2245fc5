//! Rows of CSV (RFC 4180) for orders.

use std::io::Write;

use domain::waiting::QueueSnapshot;
use domain::{Order, Timestamp};
use gateway_store::Listed;

/// The first line.
pub(super) const HEADER: &str = "id,createdAt,updatedAt,status,customer,externalReference,total,currency,item,lineItems,\
    priority,attempt,failures,maxAttempts,processAfter,waitsFor,nextAttemptAt,worker,errorClass,reason,metadata,code,kind,unreadable\r\n";
/// The number of columns between the id and the last one.
const BETWEEN: usize = 22;
/// Characters with which a spreadsheet begins a formula.
const FORMULA: &[char] = &['=', '+', '-', '@'];

/// Adds the row of an entry. One that cannot be read has its id and the cause only.
pub(super) fn row(text: &mut Vec<u8>, item: &Listed, snapshot: &QueueSnapshot) {
    match item {
        Listed::Order(order) => of_order(text, order, snapshot),
        Listed::Unreadable { unreadable, .. } => {
            raw(text, &unreadable.order_id.to_string());
            text.extend([b','; BETWEEN + 1]);
            free(text, Some(&unreadable.detail));
        }
    }
    text.extend(b"\r\n");
}

fn of_order(text: &mut Vec<u8>, order: &Order, snapshot: &QueueSnapshot) {
    let waiting = order.waiting(snapshot);
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    // Writing into a vector cannot fail.
    let _ = write!(text, "{},{},{},{},", order.id, order.created_at, order.updated_at, order.status);
    free(text, order.customer.as_deref());
    text.push(b',');
    free(text, order.external_reference.as_deref());
    let _ = write!(text, ",{},{},", order.total, order.total.currency().code());
    free(text, order.line_items.first().map(|line| &*line.item));
    let _ = write!(
        text,
        ",{},{},{},{},{},{},{},{},",
        order.line_items.len(),
        order.priority,
        order.attempt,
        order.failures,
        order.max_attempts,
        time(order.process_after),
        waiting.map(|waiting| waiting.waits_for.as_str()).unwrap_or_default(),
        time(waiting.and_then(|waiting| waiting.next_attempt_at)),
    );
    free(text, order.worker.as_ref().map(ToString::to_string).as_deref());
    text.push(b',');
    free(text, order.error_class.as_deref());
    text.push(b',');
    free(text, order.reason.as_deref());
    text.push(b',');
    free(text, (!order.metadata.is_empty()).then(|| order.metadata.to_json()).as_deref());
    let _ = write!(text, ",{},{},", order.code(), order.kind);
}

fn raw(text: &mut Vec<u8>, value: &str) {
    text.extend(value.as_bytes());
}

/// Adds a string of a client or a worker.
fn free(text: &mut Vec<u8>, value: Option<&str>) {
    let value = value.unwrap_or_default();
    let is_formula = value.trim_start().starts_with(FORMULA);
    if !is_formula && !value.contains([',', '"', '\r', '\n', '\t']) {
        return raw(text, value);
    }
    raw(text, if is_formula { "\"'" } else { "\"" });
    raw(text, &value.replace('"', "\"\""));
    raw(text, "\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_and_no_formula() {
        for (value, expected) in [
            ("Ann", "Ann"),
            ("a b", "a b"),
            ("a,b", "\"a,b\""),
            ("15\" screen", "\"15\"\" screen\""),
            ("=1+1", "\"'=1+1\""),
            (" @SUM(A1)", "\"' @SUM(A1)\""),
            ("-1", "\"'-1\""),
            ("ann@example.com", "ann@example.com"),
            ("", ""),
        ] {
            let mut text = Vec::new();
            free(&mut text, Some(value));
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }

    #[test]
    fn rows_have_the_columns_of_the_header() {
        use domain::{Content, Currency, Money, Status, TenantId};
        let snapshot = QueueSnapshot { now: Timestamp::from_micros(0), paused_at: None, paused_until: None };
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let content = Content::new(Vec::new(), Money::zero(Currency::USD));
        let order = Order::pending(id, TenantId::default(), content, Timestamp::from_micros(0));
        let order = Order { status: Status::Failed, reason: Some("a".into()), ..order };
        let mut text = Vec::new();
        row(&mut text, &Listed::Order(Box::new(order)), &snapshot);
        let text = String::from_utf8(text).unwrap();
        let columns = HEADER.trim_end().split(',').count();
        assert_eq!(text.split(',').count(), columns);
        assert_eq!(columns, BETWEEN + 2);
        assert!(text.ends_with(",a,,K6M0AY2J,default,\r\n"), "{text}");
    }
}
