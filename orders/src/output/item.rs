//! An item of an output: JSON with its original text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Index;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// An item. Its text is kept, because an amount such as `25.00` is exact only there.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    text: Box<str>,
    value: Value,
}

impl Item {
    /// Parses an item; `None` if it is not JSON.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(Self { value: serde_json::from_str(text).ok()?, text: text.trim().into() })
    }

    /// Returns the elements; none if this is not an array.
    pub(crate) fn elements(&self) -> Vec<Self> {
        let items: Vec<&RawValue> = serde_json::from_str(&self.text).unwrap_or_default();
        items.iter().filter_map(|item| Self::parse(item.get())).collect()
    }

    /// Returns the text of a member, such as an amount with all its decimals.
    pub(crate) fn raw(&self, name: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Members<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, &'a RawValue>);
        let Members(members) = serde_json::from_str(&self.text).ok()?;
        members.get(name).map(|value| value.get().to_owned())
    }

    /// Returns the JSON text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl Index<&str> for Item {
    type Output = Value;

    /// Returns a member, or null.
    fn index(&self, name: &str) -> &Value {
        &self.value[name]
    }
}

impl From<Value> for Item {
    fn from(value: Value) -> Self {
        Self { text: value.to_string().into(), value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_their_decimals() {
        let page = Item::parse(r#"[{"total":25.00,"x":1},{"total":90071992547409.93}]"#).unwrap();
        let items = page.elements();
        assert_eq!(items[0].raw("total").unwrap(), "25.00");
        assert_eq!(items[1].raw("total").unwrap(), "90071992547409.93");
        assert_eq!((items[0].text(), items[0]["x"].as_u64()), (r#"{"total":25.00,"x":1}"#, Some(1)));
        assert!(Item::parse("{").is_none() && items[0].elements().is_empty());
    }
}
