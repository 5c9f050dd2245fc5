//! What identifies a create that has an idempotency key: a stored value, so its bytes are fixed here and do not follow
//! from names or formats of the program.
//!
//! The stored value has 32 bytes: the version of the layout, then the first 31 bytes of the SHA-256 of these bytes:
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | version of the layout, [`VERSION`] |
//! | 1 | kind: 1 an order, 2 a row that breaks a rule, 3 a row that cannot be read, 4 a bulk create, 5 a replacement of an order |
//! | rest | the fields of the kind, in the order of their tags |
//!
//! A field is its tag (1 byte), the length of its value (4 bytes, big-endian) and the value. An absent field is not
//! written, so a field that is added later changes nothing for requests without it. Numbers have a fixed length and
//! are big-endian, strings are UTF-8.
//!
//! | kind | tag: value |
//! |---|---|
//! | 1 | 1: currency · 2, for each line item: quantity (8 bytes), unit price in minor units (8), item · 3: customer · 4: external reference · 5: attempts (4) · 6: priority, unless it is `normal` · 7: microseconds since 1970 before which it is not started (8) · 8, for each key of the metadata in their order: 1: key · 2: value · 9: kind, unless it is the default one |
//! | 2 | as sent: 1: item · 2: quantity (8) · 3: price · 4: number of line items (4) · 5, for each line item: its fields 1 to 3 · 6: currency · 7: customer · 8: external reference · 9: attempts (8) · 10: priority · 11: time · 12, for each key of the metadata: 1: key · 2: value · 13: kind |
//! | 3 | 1: the bytes of the row |
//! | 4 | 1: whether good rows are created without bad ones (1) · 2, for each row: its 32 bytes |
//! | 5 | 1: the id of the replaced order (16) · 2: the 32 bytes of the new one |

use domain::{Content, Draft, OrderId, Priority};
use sha2::{Digest, Sha256};

/// Version of the layout. A layout that gives an existing request other bytes has another one.
const VERSION: u8 = 1;

/// Identifies an order: two creates with the same content are the same create.
pub fn request_hash(content: &Content) -> [u8; 32] {
    order(content).hash()
}

/// Identifies a row that breaks a rule.
pub fn draft_hash(draft: &Draft) -> [u8; 32] {
    row(draft).hash()
}

/// Identifies a row that cannot be read, by its bytes.
pub fn unreadable_hash(bytes: &[u8]) -> [u8; 32] {
    let mut fields = Fields::of_kind(3);
    fields.add(1, bytes);
    fields.hash()
}

/// Identifies a bulk create by its rows.
pub fn bulk_hash(good_rows_only: bool, rows: &[[u8; 32]]) -> [u8; 32] {
    let mut fields = Fields::of_kind(4);
    fields.add(1, &[u8::from(good_rows_only)]);
    rows.iter().for_each(|row| fields.add(2, row));
    fields.hash()
}

/// Identifies the replacement of an order by another one.
pub fn replace_hash(old: OrderId, content: &Content) -> [u8; 32] {
    let mut fields = Fields::of_kind(5);
    fields.add(1, old.as_bytes());
    fields.add(2, &request_hash(content));
    fields.hash()
}

fn order(content: &Content) -> Fields {
    let mut fields = Fields::of_kind(1);
    fields.add(1, content.total.currency().code().as_bytes());
    for line in &content.line_items {
        let numbers = [u64::from(line.quantity).to_be_bytes(), line.price.minor().to_be_bytes()];
        fields.add_parts(2, &[&numbers.concat(), line.item.as_bytes()]);
    }
    fields.add_text(3, content.customer.as_deref());
    fields.add_text(4, content.external_reference.as_deref());
    fields.add(5, &content.max_attempts.to_be_bytes());
    if content.priority != Priority::Normal {
        fields.add(6, content.priority.as_str().as_bytes());
    }
    if let Some(at) = content.process_after {
        fields.add(7, &at.as_micros().to_be_bytes());
    }
    content.metadata.iter().for_each(|(key, value)| fields.add_entry(8, key, value));
    if !content.kind.is_default() {
        fields.add(9, content.kind.as_str().as_bytes());
    }
    fields
}

fn row(draft: &Draft) -> Fields {
    let mut fields = Fields::of_kind(2);
    fields.add_item(draft.item.as_deref(), draft.quantity, draft.price.as_deref());
    if let Some(lines) = &draft.line_items {
        fields.add(4, &u32::try_from(lines.len()).unwrap_or(u32::MAX).to_be_bytes());
        for line in lines {
            let mut item = Fields(Vec::new());
            item.add_item(line.item.as_deref(), line.quantity, line.price.as_deref());
            fields.add(5, &item.0);
        }
    }
    fields.add_text(6, draft.currency.as_deref());
    fields.add_text(7, draft.customer.as_deref());
    fields.add_text(8, draft.external_reference.as_deref());
    fields.add_number(9, draft.max_attempts);
    fields.add_text(10, draft.priority.as_deref());
    fields.add_text(11, draft.process_after.as_deref());
    let metadata = draft.metadata.iter().flatten();
    metadata.for_each(|(key, value)| fields.add_entry(12, key, value));
    fields.add_text(13, draft.kind.as_deref());
    fields
}

/// Bytes in the layout of this module.
struct Fields(Vec<u8>);

impl Fields {
    fn of_kind(kind: u8) -> Self {
        Self(vec![VERSION, kind])
    }

    fn add(&mut self, tag: u8, value: &[u8]) {
        self.add_parts(tag, &[value]);
    }

    fn add_parts(&mut self, tag: u8, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        // Bodies are limited to far less.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.0.push(tag);
        self.0.extend(length.to_be_bytes());
        parts.iter().for_each(|part| self.0.extend(*part));
    }

    fn add_text(&mut self, tag: u8, text: Option<&str>) {
        if let Some(text) = text {
            self.add(tag, text.as_bytes());
        }
    }

    fn add_number(&mut self, tag: u8, number: Option<i64>) {
        if let Some(number) = number {
            self.add(tag, &number.to_be_bytes());
        }
    }

    fn add_entry(&mut self, tag: u8, key: &str, value: &str) {
        let mut entry = Fields(Vec::new());
        entry.add(1, key.as_bytes());
        entry.add(2, value.as_bytes());
        self.add(tag, &entry.0);
    }

    fn add_item(&mut self, item: Option<&str>, quantity: Option<i64>, price: Option<&str>) {
        self.add_text(1, item);
        self.add_number(2, quantity);
        self.add_text(3, price);
    }

    fn hash(&self) -> [u8; 32] {
        let digest: [u8; 32] = Sha256::digest(&self.0).into();
        let mut hash = [VERSION; 32];
        hash[1..].copy_from_slice(&digest[..31]);
        hash
    }
}

#[cfg(test)]
mod tests {
    use domain::{Currency, DraftLineItem};

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn small() -> Draft {
        Draft {
            item: Some("Laptop".into()),
            quantity: Some(2),
            price: Some("1299.990".into()),
            max_attempts: Some(3),
            ..Draft::default()
        }
    }

    /// The vectors were computed by another program from the table at the head of this file.
    #[test]
    fn orders_have_fixed_bytes() {
        let content = small().check(Currency::USD).unwrap();
        assert_eq!(
            hex(&order(&content).0),
            "0101010000000355534402000000160000000000000002000000000001fbcf4c6170746f70050000000400000003"
        );
        let hash = request_hash(&content);
        assert_eq!(hex(&hash), "01d21af0b0d07d03f0eed2044859d3683474feba1cff7b4e035c654c6aaf2fdc");

        let line = |item: &str, quantity, price: &str| DraftLineItem {
            item: Some(item.into()),
            quantity: Some(quantity),
            price: Some(price.into()),
        };
        let full = Draft {
            line_items: Some(vec![line("Ä", 1, "100"), line("b", 3, "0")]),
            currency: Some("JPY".into()),
            customer: Some("Ann".into()),
            external_reference: Some("A-1".into()),
            max_attempts: Some(7),
            priority: Some("high".into()),
            process_after: Some("2026-01-01T01:00:00+01:00".into()),
            ..Draft::default()
        };
        let hash = request_hash(&full.check(Currency::USD).unwrap());
        assert_eq!(hex(&hash), "01093bdc5d74f9e472381f2540fbd3d03595933327f407f41a885e5459d360b9");
    }

    #[test]
    fn rows_and_bulks_have_fixed_bytes() {
        let draft = Draft {
            item: Some("x".into()),
            quantity: Some(0),
            price: Some("1.5".into()),
            ..Draft::default()
        };
        assert_eq!(hex(&row(&draft).0), "0102010000000178020000000800000000000000000300000003312e35");
        assert_eq!(
            hex(&draft_hash(&draft)),
            "0121e17f738d14c2ae76d190223f35b83c6f67c044c24f6f92b1822f554e33d1"
        );
        let full = Draft {
            line_items: Some(vec![
                DraftLineItem { item: Some("a".into()), quantity: Some(-1), price: Some("x".into()) },
                DraftLineItem::default(),
            ]),
            currency: Some("XXX".into()),
            customer: Some(String::new()),
            external_reference: Some("r".into()),
            max_attempts: Some(99),
            priority: Some("huge".into()),
            process_after: Some("soon".into()),
            ..Draft::default()
        };
        assert_eq!(
            hex(&draft_hash(&full)),
            "017dc086b97a62c084e2efac9487e540f6b9ec063158b6dde7cdd547a878d3ab"
        );
        let bad = unreadable_hash(b"{");
        assert_eq!(hex(&bad), "012d88086eef25e5c9f2a1e93883d347dd362b1df5a5e9b27e1785e5fbfa166e");
        let bulk = bulk_hash(true, &[request_hash(&small().check(Currency::USD).unwrap()), bad]);
        assert_eq!(hex(&bulk), "01942c545c3023ec426be3eb7ecb88502386b9206b7b91dbe9c3972c7fc3dcf4");
    }

    /// The same entries in another order are the same metadata, and no metadata is none.
    #[test]
    fn metadata_of_an_order_is_a_set() {
        let hash = |entries: &[(&str, &str)]| {
            let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let draft = Draft { metadata: Some(entries.collect()), ..small() };
            request_hash(&draft.check(Currency::USD).unwrap())
        };
        assert_eq!(hash(&[("a", "1"), ("b", "2")]), hash(&[("b", "2"), ("a", "1")]));
        assert_ne!(hash(&[("a", "1")]), hash(&[("a", "2")]));
        assert_eq!(hash(&[]), request_hash(&small().check(Currency::USD).unwrap()));
    }

    #[test]
    fn every_field_counts() {
        let mut drafts = vec![Draft::default(), small()];
        let with = |change: fn(&mut Draft)| {
            let mut draft = small();
            change(&mut draft);
            draft
        };
        drafts.extend([
            with(|draft| draft.item = None),
            with(|draft| draft.quantity = None),
            with(|draft| draft.price = Some("1299.99".into())),
            with(|draft| draft.line_items = Some(Vec::new())),
            with(|draft| draft.line_items = Some(vec![DraftLineItem::default()])),
            with(|draft| draft.currency = Some("USD".into())),
            with(|draft| draft.customer = Some("a".into())),
            with(|draft| draft.external_reference = Some("a".into())),
            with(|draft| draft.max_attempts = None),
            with(|draft| draft.priority = Some("normal".into())),
            with(|draft| draft.process_after = Some("a".into())),
            with(|draft| draft.metadata = Some(vec![("a".into(), "b".into())])),
            with(|draft| draft.metadata = Some(vec![("ab".into(), String::new())])),
        ]);
        let hashes: std::collections::HashSet<_> = drafts.iter().map(draft_hash).collect();
        assert_eq!(hashes.len(), drafts.len());
    }
}
