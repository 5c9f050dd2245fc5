//! Refuses expensive documents before they are validated and executed.
//!
//! Fragments that spread other fragments twice grow exponentially: 25 of them, in less than a kilobyte, expand to
//! thirty million fields. Validation and execution follow every spread, so they must never process such a document. The
//! walk of this module stores the cost of each fragment, visits every part of the document once, and counts with
//! saturating numbers. It therefore takes microseconds for any document within the size limit.
//!
//! The walk counts all operations of the document and unused fragments, because validation visits them too. Only the
//! bytes of variables are counted for the selected operation alone, because the variables belong to it.
//!
//! Hand-written: the limits of async-graphql 7.0.19 follow every spread, so such a document occupies a processor for
//! minutes. A test requires that this module refuses it within a second.

mod cost;
mod document_text;
mod limit_exceeded;

use std::collections::{HashMap, HashSet};

use apollo_compiler::Node;
use apollo_compiler::ast::{
    Argument, Document, Field, FragmentDefinition, OperationDefinition, Selection, Value,
};
use async_graphql::Value as GraphqlValue;
use domain::ErrorCode;

use self::cost::Cost;
pub(crate) use self::document_text::{check_text, without_descriptions};
pub(crate) use self::limit_exceeded::LimitExceeded;
use crate::config::Config;
use crate::language::{Coerced, json_size};
use crate::schema::list::{DEFAULT_PAGE, MAX_PAGE};
use gateway_service::MAX_ROWS;

/// Maximum nesting of selection sets, with fragments and introspection. The introspection query of tools has 15.
const MAX_NESTING: usize = 32;
/// Maximum nesting of introspection lists (`fields` of the types of `fields`). Each level multiplies the length of the
/// response by the size of the schema.
const MAX_INTROSPECTION_LISTS: usize = 2;
/// Assumed number of events of an order in nested timelines, where it multiplies the cost. The timelines of a page are
/// read in one query, so one level costs as much as any other field.
const EVENTS_PER_ORDER: usize = 10;
/// Weight of the fields of a line item: the largest with which a page of 100 orders may select every field (decision
/// 10). An order has up to 200 line items; the budget ([`crate::response_budget`]) counts the real length of the
/// response.
const LINE_ITEM_WEIGHT: usize = 2;
/// Maximum bytes of variables in one operation. The length of a variable in JSON counts once per use, because execution
/// copies it for each use.
const MAX_VARIABLE_BYTES: usize = 1024 * 1024;
/// Bytes of variables that use as much memory as one order.
const VARIABLE_BYTES_PER_ORDER: usize = 8 * 1024;

/// Number of orders that use as much memory as one introspection of the schema.
const ORDERS_PER_SCHEMA_FIELD: usize = 50;

/// Checks the limits that do not depend on variables, so that the document is safe to validate.
pub(crate) fn check_structure(document: &Document, limits: &Config) -> Result<(), LimitExceeded> {
    let mut walk = Walk::new(document, limits, None);
    let (total, _) = walk.document(limits, None)?;
    for (limit, what, count, most) in [
        ("selections", "selections after fragments are expanded", total.selections, limits.max_selections),
        ("depth", "nested selections", total.depth, limits.max_depth),
        ("aliases", "aliases", total.aliases, limits.max_aliases),
        ("directives", "directives", total.directives, limits.max_directives),
        ("introspection", "nested lists of introspection", total.lists, MAX_INTROSPECTION_LISTS),
    ] {
        if count > most {
            return Err(LimitExceeded::over(limit, what, most));
        }
    }
    Ok(())
}

/// The cost of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OperationCost {
    /// Fields times page sizes of the whole document.
    pub(crate) complexity: usize,
    /// Memory that it may use, in orders: the orders that it reads, and the length of its variables.
    pub(crate) orders: usize,
}

/// Checks the limits that depend on the variables of the selected operation. Returns its cost.
pub(crate) fn check_variables(
    document: &Document,
    operation: Option<&str>,
    variables: &Coerced,
    limits: &Config,
) -> Result<OperationCost, LimitExceeded> {
    let mut walk = Walk::new(document, limits, Some(variables));
    let (total, selected) = walk.document(limits, operation)?;
    if total.complexity > limits.max_complexity {
        return Err(LimitExceeded::over("complexity", "fields times page sizes", limits.max_complexity));
    }
    if selected.variables > MAX_VARIABLE_BYTES {
        let message = format!(
            "the operation uses {} bytes of variables, each counted as often as it is used: the most is \
             {MAX_VARIABLE_BYTES}",
            selected.variables
        );
        return Err(LimitExceeded::new("variables", message));
    }
    let orders = selected.orders.saturating_add(selected.variables / VARIABLE_BYTES_PER_ORDER);
    Ok(OperationCost { complexity: total.complexity, orders })
}

struct Walk<'a> {
    fragments: HashMap<&'a str, &'a Node<FragmentDefinition>>,
    document: &'a Document,
    variables: Option<&'a Coerced>,
    /// Whether introspection is permitted.
    introspection: bool,
    /// Default values of variables that are numbers, by name.
    defaults: HashMap<&'a str, i64>,
    /// The costs of visited fragments; `None` during the visit.
    known: HashMap<&'a str, Option<Cost>>,
    /// The lengths of variables that were used so far.
    sizes: HashMap<&'a str, usize>,
}

impl<'a> Walk<'a> {
    fn new(document: &'a Document, limits: &Config, variables: Option<&'a Coerced>) -> Self {
        let mut fragments = HashMap::new();
        for fragment in document.definitions.iter().filter_map(|known| known.as_fragment_definition()) {
            // apollo-compiler also keeps the first of two definitions with the same name.
            fragments.entry(fragment.name.as_str()).or_insert(fragment);
        }
        Self {
            fragments,
            document,
            variables,
            introspection: limits.introspection,
            defaults: defaults(document),
            known: HashMap::new(),
            sizes: HashMap::new(),
        }
    }

    /// Returns the cost of the document, and the cost of the selected operation.
    fn document(&mut self, limits: &Config, selected: Option<&str>) -> Result<(Cost, Cost), LimitExceeded> {
        let (mut total, mut of_selected) = (Cost::default(), Cost::default());
        let mut roots = 0;
        for definition in &self.document.definitions {
            let Some(operation) = definition.as_operation_definition() else { continue };
            let cost = self.operation(operation)?;
            roots = roots.max(cost.fields);
            if selected.is_none() || operation.name.as_ref().map(|name| name.as_str()) == selected {
                of_selected = cost;
            }
            total = total.plus(cost);
        }
        if roots > limits.max_root_fields {
            return Err(LimitExceeded::over("root_fields", "fields at the root", limits.max_root_fields));
        }
        let spread = spread_fragments(self.document);
        let mut seen = HashSet::new();
        for definition in &self.document.definitions {
            let Some(fragment) = definition.as_fragment_definition() else { continue };
            let name = fragment.name.as_str();
            let cost = if seen.insert(name) {
                // Fragments that only spread each other in a cycle are in no operation.
                self.fragment(name, fragment, 0)?
            } else {
                self.set(&fragment.selection_set, 0, is_of_root(fragment))?
            };
            if !spread.contains(name) {
                total = total.plus(cost);
            }
        }
        Ok((total, of_selected))
    }

    fn operation(&mut self, operation: &'a OperationDefinition) -> Result<Cost, LimitExceeded> {
        let mut cost = self.set(&operation.selection_set, 0, true)?;
        let fields = cost.fields;
        cost = cost.plus(self.directives(&operation.directives));
        for variable in &operation.variables {
            cost = cost.plus(self.directives(&variable.directives));
        }
        Ok(Cost { fields, ..cost })
    }

    /// Returns the cost of a selection set. `level` is its nesting, which limits the recursion of this function.
    /// `is_root` is whether its fields are those of an operation.
    fn set(&mut self, set: &'a [Selection], level: usize, is_root: bool) -> Result<Cost, LimitExceeded> {
        if level > MAX_NESTING {
            return Err(LimitExceeded::over("depth", "nested selections", MAX_NESTING));
        }
        let mut total = Cost::default();
        for selection in set {
            total = total.plus(match selection {
                Selection::Field(field) => self.field(field, level, is_root)?,
                Selection::InlineFragment(inline) => {
                    let directives = self.directives(&inline.directives);
                    self.set(&inline.selection_set, level + 1, is_root)?.inside_fragment(directives)
                }
                Selection::FragmentSpread(spread) => {
                    let name = spread.fragment_name.as_str();
                    // Validation reports an unknown fragment.
                    let cost = match self.fragments.get(name).copied() {
                        Some(fragment) => self.fragment(name, fragment, level + 1)?,
                        None => Cost::default(),
                    };
                    cost.inside_fragment(self.directives(&spread.directives))
                }
            });
        }
        total.nesting += 1;
        if level + total.nesting > MAX_NESTING + 1 {
            return Err(LimitExceeded::over("depth", "nested selections", MAX_NESTING));
        }
        Ok(total)
    }

    fn fragment(
        &mut self,
        name: &'a str,
        fragment: &'a Node<FragmentDefinition>,
        level: usize,
    ) -> Result<Cost, LimitExceeded> {
        match self.known.get(name) {
            Some(Some(cost)) => Ok(*cost),
            Some(None) => {
                Err(LimitExceeded::new("fragment_cycle", format!("the fragment {name} contains itself")))
            }
            None => {
                self.known.insert(name, None);
                let cost = self.set(&fragment.selection_set, level, is_of_root(fragment))?;
                let cost = cost.plus(self.directives(&fragment.directives));
                self.known.insert(name, Some(cost));
                Ok(cost)
            }
        }
    }

    fn field(&mut self, field: &'a Field, level: usize, is_root: bool) -> Result<Cost, LimitExceeded> {
        let name = field.name.as_str();
        if !self.introspection && matches!(name, "__schema" | "__type") {
            let message = format!("introspection is switched off here, so {name} cannot be asked for");
            let code = ErrorCode::IntrospectionDisabled;
            return Err(LimitExceeded { limit: code.as_str(), code, message });
        }
        let inner = if field.selection_set.is_empty() {
            Cost::default()
        } else {
            self.set(&field.selection_set, level + 1, false)?
        };
        let times = match name {
            "orders" | "apiKeys" | "auditLog" | "eventLog" | "webhookEndpoints" => self.page_size(field),
            // Those of a webhook endpoint.
            "attempts" | "messages" if !field.selection_set.is_empty() => self.page_size(field),
            // The event log. Below it, `events` is the timeline of an order.
            "events" if is_root => self.page_size(field),
            // The rows of a bulk create are in memory; only reads for each row count.
            "createOrders" if inner.reads => MAX_ROWS,
            "events" if inner.reads => EVENTS_PER_ORDER,
            "lineItems" => LINE_ITEM_WEIGHT,
            _ => 1,
        };
        let (read_alone, page) = match name {
            "order" | "node" => (1, 0),
            "orders" => (0, times),
            // The content of their orders is read.
            "events" if is_root => (0, times),
            "__schema" | "__type" => (ORDERS_PER_SCHEMA_FIELD, 0),
            _ => (0, 0),
        };
        let is_list = matches!(name, "fields" | "inputFields" | "interfaces" | "possibleTypes");
        let directives = self.directives(&field.directives);
        Ok(Cost {
            selections: inner.selections.saturating_add(1),
            aliases: inner.aliases.saturating_add(usize::from(field.alias.is_some())),
            directives: inner.directives.saturating_add(directives.directives),
            complexity: inner.complexity.saturating_mul(times).saturating_add(1),
            reads: inner.reads || name == "events" && !is_root,
            fields: 1,
            depth: if name.starts_with("__") { 0 } else { inner.depth + 1 },
            nesting: inner.nesting,
            lists: inner.lists + usize::from(is_list),
            orders: inner.orders.saturating_add(read_alone).saturating_mul(times).saturating_add(page),
            variables: self
                .arguments(&field.arguments)
                .saturating_add(directives.variables)
                .saturating_add(inner.variables),
        })
    }

    fn directives(&mut self, directives: &'a apollo_compiler::ast::DirectiveList) -> Cost {
        let mut cost = Cost { directives: directives.len(), ..Cost::default() };
        for directive in directives.iter() {
            cost.variables = cost.variables.saturating_add(self.arguments(&directive.arguments));
        }
        cost
    }

    /// Returns the bytes of the variables in arguments. The parser limits the nesting of values.
    fn arguments(&mut self, arguments: &'a [Node<Argument>]) -> usize {
        if self.variables.is_none() {
            return 0;
        }
        arguments.iter().fold(0, |sum: usize, argument| sum.saturating_add(self.uses(&argument.value)))
    }

    fn uses(&mut self, value: &'a Value) -> usize {
        match value {
            Value::Variable(name) => {
                let variables = self.variables;
                let size = || variables.and_then(|known| known.get(name)).map_or(0, json_size);
                *self.sizes.entry(name.as_str()).or_insert_with(size)
            }
            Value::List(items) => {
                items.iter().fold(0, |sum: usize, item| sum.saturating_add(self.uses(item)))
            }
            Value::Object(fields) => {
                fields.iter().fold(0, |sum: usize, (_, field)| sum.saturating_add(self.uses(field)))
            }
            _ => 0,
        }
    }

    /// Returns the page size of a list, by `first` or `last`. An invalid size counts as the maximum; the resolver
    /// refuses it.
    fn page_size(&self, field: &Field) -> usize {
        let size = |name| {
            let argument = field.arguments.iter().find(|argument| argument.name == name)?;
            let size = match &*argument.value {
                Value::Int(number) => number.as_str().parse().unwrap_or(i64::MAX),
                Value::Variable(name) => match self.variables.and_then(|known| known.get(name)) {
                    Some(GraphqlValue::Number(number)) => number.as_i64()?,
                    Some(_) => return None,
                    None => *self.defaults.get(name.as_str())?,
                },
                _ => return None,
            };
            Some(if size < 1 { i64::from(MAX_PAGE) } else { size })
        };
        let size = size("first").max(size("last")).unwrap_or(i64::from(DEFAULT_PAGE));
        usize::try_from(size.min(i64::from(MAX_PAGE))).unwrap_or(usize::MAX)
    }
}

/// Returns whether the fields of a fragment are those of an operation.
fn is_of_root(fragment: &FragmentDefinition) -> bool {
    matches!(fragment.type_condition.as_str(), "Query" | "Mutation" | "Subscription")
}

/// Returns the numeric defaults of variables. The largest default counts if several operations declare the same name.
fn defaults(document: &Document) -> HashMap<&str, i64> {
    let mut found: HashMap<&str, i64> = HashMap::new();
    for operation in document.definitions.iter().filter_map(|known| known.as_operation_definition()) {
        for variable in &operation.variables {
            if let Some(Value::Int(number)) = variable.default_value.as_deref()
                && let Ok(number) = number.as_str().parse()
            {
                let known = found.entry(variable.name.as_str()).or_insert(number);
                *known = number.max(*known);
            }
        }
    }
    found
}

fn spread_fragments(document: &Document) -> HashSet<&str> {
    let mut sets: Vec<&[Selection]> = Vec::new();
    for definition in &document.definitions {
        sets.extend(definition.as_operation_definition().map(|known| known.selection_set.as_slice()));
        sets.extend(definition.as_fragment_definition().map(|known| known.selection_set.as_slice()));
    }
    let mut found = HashSet::new();
    while let Some(set) = sets.pop() {
        for selection in set {
            match selection {
                Selection::Field(field) => sets.push(&field.selection_set),
                Selection::InlineFragment(inline) => sets.push(&inline.selection_set),
                Selection::FragmentSpread(spread) => {
                    found.insert(spread.fragment_name.as_str());
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
