//! Refuses hostile documents before anything walks them.
//!
//! Fragments that spread other fragments twice grow exponentially: 25 of them, in less than a
//! kilobyte, are thirty million fields. Validation and execution follow every spread, so they must
//! never see such a document. This walk remembers what each fragment costs, visits every part of
//! the document once, and counts with saturating numbers, so it takes microseconds for any document
//! within the size limit.
//!
//! It counts over all operations of the document and over fragments that nothing spreads, because
//! validation visits those too.

mod text;

use std::collections::{HashMap, HashSet};

use async_graphql::Variables;
use async_graphql::parser::types::{
    ExecutableDocument, Field, FragmentDefinition, OperationDefinition, OperationType, Selection,
    SelectionSet,
};
use async_graphql::{Name, Positioned, Value};
use axum::http::StatusCode;

pub(crate) use self::text::check_text;
use super::errors::{INTROSPECTION_DISABLED, LIMIT_EXCEEDED};
use super::list::{DEFAULT_PAGE, MAX_PAGE};
use crate::config::GraphqlLimits;
use crate::orders::MAX_ROWS;

/// Most selection sets inside each other, through fragments and introspection too. Tools' full
/// introspection query has 15.
const MAX_NESTING: usize = 32;
/// Most lists inside each other in introspection (`fields` of the types of `fields` …): each level
/// multiplies the answer by the size of the schema.
const MAX_INTROSPECTION_LISTS: usize = 2;
/// How many events an order is taken to have where their number multiplies: with timelines inside
/// timelines. One level of them is read for a whole page at once and costs as much as any other field.
const TIMELINE: usize = 10;

/// A document that is too much, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMuch {
    /// A stable word for the limit.
    pub(crate) limit: &'static str,
    /// The code of the error.
    pub(crate) code: &'static str,
    /// 413 for length, 400 for the rest.
    pub(crate) status: StatusCode,
    /// For people.
    pub(crate) message: String,
}

impl TooMuch {
    fn new(limit: &'static str, message: String) -> Self {
        Self { limit, code: LIMIT_EXCEEDED, status: StatusCode::BAD_REQUEST, message }
    }

    fn over(limit: &'static str, what: &str, most: usize) -> Self {
        Self::new(limit, format!("the document has too many {what}: the most is {most}"))
    }
}

/// Checks a parsed document with its variables, so that it is safe to validate. Returns its complexity.
pub(crate) fn check(
    document: &ExecutableDocument,
    variables: &Variables,
    limits: &GraphqlLimits,
) -> Result<usize, TooMuch> {
    let mut walk = Walk {
        document,
        variables,
        introspection: limits.introspection,
        defaults: defaults(document),
        known: HashMap::new(),
    };
    let mut total = Cost::default();
    for (_, operation) in document.operations.iter() {
        let cost = walk.set(&operation.node.selection_set.node, 0)?;
        if cost.fields > limits.root_fields {
            return Err(TooMuch::over("root_fields", "fields at the root", limits.root_fields));
        }
        if operation.node.ty == OperationType::Subscription && cost.fields != 1 {
            let message = "a subscription must have exactly one field at the root".to_owned();
            return Err(TooMuch::new("subscription_fields", message));
        }
        let mut cost = cost.and_directives(operation.node.directives.len());
        for variable in &operation.node.variable_definitions {
            cost = cost.and_directives(variable.node.directives.len());
        }
        total = total.beside(cost);
    }
    let spread = spread_fragments(document);
    for (name, fragment) in &document.fragments {
        if !spread.contains(name) {
            total = total.beside(walk.fragment(name, fragment, 0)?);
        }
    }
    // Fragments that only spread each other in a circle are found by nobody above.
    for (name, fragment) in &document.fragments {
        walk.fragment(name, fragment, 0)?;
    }
    for (limit, what, count, most) in [
        ("selections", "selections after fragments are expanded", total.selections, limits.selections),
        ("depth", "selections inside each other", total.depth, limits.depth),
        ("aliases", "aliases", total.aliases, limits.aliases),
        ("directives", "directives", total.directives, limits.directives),
        ("introspection", "lists of introspection inside each other", total.lists, MAX_INTROSPECTION_LISTS),
        ("complexity", "fields times page sizes", total.complexity, limits.complexity),
    ] {
        if count > most {
            return Err(TooMuch::over(limit, what, most));
        }
    }
    Ok(total.complexity)
}

/// What a part of a document costs.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Fields, spreads and inline fragments, expanded.
    selections: usize,
    aliases: usize,
    directives: usize,
    complexity: usize,
    /// Whether something is read from the database for each order.
    reads: bool,
    /// Fields at the top of this part.
    fields: usize,
    /// Fields inside each other, introspection not counted.
    depth: usize,
    /// Selection sets inside each other, fragments counted.
    nesting: usize,
    /// Lists of introspection inside each other.
    lists: usize,
}

impl Cost {
    /// The cost of both parts, one after the other.
    fn beside(self, other: Self) -> Self {
        Self {
            selections: self.selections.saturating_add(other.selections),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            complexity: self.complexity.saturating_add(other.complexity),
            reads: self.reads || other.reads,
            fields: self.fields.saturating_add(other.fields),
            depth: self.depth.max(other.depth),
            nesting: self.nesting.max(other.nesting),
            lists: self.lists.max(other.lists),
        }
    }

    fn and_directives(self, count: usize) -> Self {
        Self { directives: self.directives.saturating_add(count), ..self }
    }

    /// The cost of a fragment where it is used.
    fn inside_fragment(self, directives: usize) -> Self {
        Self { selections: self.selections.saturating_add(1), ..self.and_directives(directives) }
    }
}

struct Walk<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    /// Whether the schema may be asked for.
    introspection: bool,
    /// Default values of variables that are numbers, by name.
    defaults: HashMap<&'a Name, i64>,
    /// Fragments that were seen; `None` while one is being looked at.
    known: HashMap<&'a Name, Option<Cost>>,
}

impl<'a> Walk<'a> {
    /// `level` is how many sets this one is in; it bounds how deep this function calls itself.
    fn set(&mut self, set: &'a SelectionSet, level: usize) -> Result<Cost, TooMuch> {
        if level > MAX_NESTING {
            return Err(TooMuch::over("depth", "selections inside each other", MAX_NESTING));
        }
        let mut total = Cost::default();
        for selection in &set.items {
            total = total.beside(match &selection.node {
                Selection::Field(field) => self.field(&field.node, level)?,
                Selection::InlineFragment(inline) => {
                    let directives = inline.node.directives.len();
                    self.set(&inline.node.selection_set.node, level + 1)?.inside_fragment(directives)
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    // Validation says it when there is no such fragment.
                    let cost = match self.document.fragments.get_key_value(name) {
                        Some((name, fragment)) => self.fragment(name, fragment, level + 1)?,
                        None => Cost::default(),
                    };
                    cost.inside_fragment(spread.node.directives.len())
                }
            });
        }
        total.nesting += 1;
        if level + total.nesting > MAX_NESTING + 1 {
            return Err(TooMuch::over("depth", "selections inside each other", MAX_NESTING));
        }
        Ok(total)
    }

    fn fragment(
        &mut self,
        name: &'a Name,
        fragment: &'a Positioned<FragmentDefinition>,
        level: usize,
    ) -> Result<Cost, TooMuch> {
        match self.known.get(name) {
            Some(Some(cost)) => Ok(*cost),
            Some(None) => Err(TooMuch::new("fragment_cycle", format!("the fragment {name} contains itself"))),
            None => {
                self.known.insert(name, None);
                let cost = self.set(&fragment.node.selection_set.node, level)?;
                let cost = cost.and_directives(fragment.node.directives.len());
                self.known.insert(name, Some(cost));
                Ok(cost)
            }
        }
    }

    fn field(&mut self, field: &'a Field, level: usize) -> Result<Cost, TooMuch> {
        let name = field.name.node.as_str();
        if !self.introspection && matches!(name, "__schema" | "__type") {
            let message = format!("introspection is switched off here, so {name} cannot be asked for");
            let refusal = TooMuch::new("introspection_disabled", message);
            return Err(TooMuch { code: INTROSPECTION_DISABLED, ..refusal });
        }
        let inner = if field.selection_set.node.items.is_empty() {
            Cost::default()
        } else {
            self.set(&field.selection_set.node, level + 1)?
        };
        let times = match name {
            "orders" => self.page_size(field),
            // The rows of a bulk create are there already; only what is read for each of them counts.
            "createOrders" if inner.reads => MAX_ROWS,
            "events" if inner.reads => TIMELINE,
            _ => 1,
        };
        let is_list = matches!(name, "fields" | "inputFields" | "interfaces" | "possibleTypes");
        Ok(Cost {
            selections: inner.selections.saturating_add(1),
            aliases: inner.aliases.saturating_add(usize::from(field.alias.is_some())),
            directives: inner.directives.saturating_add(field.directives.len()),
            complexity: inner.complexity.saturating_mul(times).saturating_add(1),
            reads: inner.reads || name == "events",
            fields: 1,
            depth: if name.starts_with("__") { 0 } else { inner.depth + 1 },
            nesting: inner.nesting,
            lists: inner.lists + usize::from(is_list),
        })
    }

    /// The page that a list will have, from whichever end. A size that is not allowed counts as the
    /// largest one; the resolver refuses it.
    fn page_size(&self, field: &Field) -> usize {
        let size = |name| {
            let argument = field.get_argument(name)?.node.clone();
            let value = argument.into_const_with(|name| self.variable(&name)).ok()?;
            let size = as_number(&value)?;
            Some(if size < 1 { i64::from(MAX_PAGE) } else { size })
        };
        let size = size("first").max(size("last")).unwrap_or(i64::from(DEFAULT_PAGE));
        usize::try_from(size.min(i64::from(MAX_PAGE))).unwrap_or(usize::MAX)
    }

    fn variable(&self, name: &Name) -> Result<Value, ()> {
        let default = || self.defaults.get(name).map(|number| Value::from(*number));
        self.variables.get(name).cloned().or_else(default).ok_or(())
    }
}

/// Where several operations have a variable of the same name, the largest default counts.
fn defaults(document: &ExecutableDocument) -> HashMap<&Name, i64> {
    let mut found: HashMap<&Name, i64> = HashMap::new();
    for (_, operation) in document.operations.iter() {
        for variable in &operation.node.variable_definitions {
            if let Some(number) =
                variable.node.default_value.as_ref().and_then(|value| as_number(&value.node))
            {
                let known = found.entry(&variable.node.name.node).or_insert(number);
                *known = number.max(*known);
            }
        }
    }
    found
}

fn as_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        _ => None,
    }
}

fn spread_fragments(document: &ExecutableDocument) -> HashSet<&Name> {
    let operations = document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node);
    let fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set.node);
    let mut sets: Vec<&SelectionSet> = operations.chain(fragments).collect();
    let mut found = HashSet::new();
    while let Some(set) = sets.pop() {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => sets.push(&field.node.selection_set.node),
                Selection::InlineFragment(inline) => sets.push(&inline.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    found.insert(&spread.node.fragment_name.node);
                }
            }
        }
    }
    found
}

/// The one field at the root of a subscription, also when it is in a fragment. `None` when it stands
/// at the root itself.
pub(crate) fn hidden_root_field<'a>(
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
) -> Option<&'a Positioned<Field>> {
    let mut set = &operation.selection_set.node;
    let mut hidden = false;
    // [`check`] found no circle and exactly one field, so exactly one selection leads to it.
    loop {
        let mut next = None;
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => return hidden.then_some(field),
                Selection::InlineFragment(inline) => next = Some(&inline.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let fragment = document.fragments.get(&spread.node.fragment_name.node);
                    next = fragment.map(|fragment| &fragment.node.selection_set.node);
                }
            }
        }
        hidden = true;
        set = next?;
    }
}

#[cfg(test)]
mod tests;
