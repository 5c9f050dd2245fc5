//! Values of variables, as the specification has it in CoerceVariableValues.

use apollo_compiler::ast::Type;
use apollo_compiler::schema::{ExtendedType, InputObjectType};
use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Number, ScalarType, ServerError, Value, Variables};
use serde_json::{Map, Value as Json};

use super::plan::Plan;
use super::{Language, Problem};
use crate::graphql::scalars::{DateTime, Decimal};

/// Most characters of a value in a message.
const SHOWN: usize = 60;

/// The values of the variables of one request. A variable that was left out and has no default is
/// not in it.
#[derive(Debug, Default)]
pub(in crate::graphql) struct Coerced(Variables);

impl Coerced {
    pub(in crate::graphql) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Whether a variable is there and not null.
    pub(super) fn has_value(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| *value != Value::Null)
    }

    /// Variables with some value each.
    pub(super) fn with_values<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut variables = Variables::default();
        for name in names {
            variables.insert(Name::new(name), Value::Boolean(true));
        }
        Self(variables)
    }

    /// For the engine.
    pub(in crate::graphql) fn into_variables(self) -> Variables {
        self.0
    }

    #[cfg(test)]
    pub(in crate::graphql) fn unchecked(variables: Variables) -> Self {
        Self(variables)
    }
}

/// What is wrong with a value, and the way to it from the innermost step outwards.
struct Fault {
    /// Empty when it is a null.
    message: String,
    path: Vec<Step>,
}

/// A step from a value into it.
enum Step {
    Field(String),
    Index(usize),
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), path: Vec::new() }
    }

    fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    fn of_variable(&self, name: &str, ty: &Type) -> String {
        if self.message.is_empty() && self.path.is_empty() {
            return format!("the variable ${name} of type {ty} is required");
        }
        let mut place = format!("${name}");
        for step in self.path.iter().rev() {
            match step {
                Step::Field(field) => place.extend([".", field]),
                Step::Index(index) => place.push_str(&format!("[{index}]")),
            }
        }
        if self.message.is_empty() {
            format!("the variable ${name} of type {ty} is null at {place}, where a value is required")
        } else {
            format!("the variable ${name} has a wrong value at {place}: {}", self.message)
        }
    }
}

impl Language {
    /// Coerces the variables of an operation; others are ignored.
    pub(in crate::graphql) fn coerce(
        &self,
        plan: &Plan,
        mut variables: Map<String, Json>,
    ) -> Result<Coerced, ServerError> {
        let mut coerced = Variables::default();
        for definition in &plan.variables {
            let (name, ty) = (&definition.name, &definition.ty);
            let value = match (variables.remove(name.as_str()), &definition.default) {
                (Some(value), _) => self.value(ty, value),
                (None, Some(default)) => Ok(default.clone()),
                (None, None) if ty.is_non_null() => Err(Fault::new("")),
                (None, None) => continue,
            };
            let value = value
                .map_err(|fault| Problem::new(definition.pos, fault.of_variable(name, ty)).into_error())?;
            coerced.insert(Name::new(name), value);
        }
        Ok(Coerced(coerced))
    }

    fn value(&self, ty: &Type, value: Json) -> Result<Value, Fault> {
        if value.is_null() {
            return if ty.is_non_null() { Err(Fault::new("")) } else { Ok(Value::Null) };
        }
        if ty.is_list() {
            let Json::Array(items) = value else {
                return self.value(ty.item_type(), value).map(|item| Value::List(vec![item]));
            };
            let item = |(index, item)| {
                self.value(ty.item_type(), item).map_err(|fault| fault.within(Step::Index(index)))
            };
            return items.into_iter().enumerate().map(item).collect::<Result<_, _>>().map(Value::List);
        }
        let name = ty.inner_named_type();
        match self.schema.types.get(name) {
            Some(ExtendedType::InputObject(definition)) => self.input_object(definition, value),
            Some(ExtendedType::Enum(definition)) => match value {
                Json::String(text) if definition.values.contains_key(text.as_str()) => {
                    Ok(Value::Enum(Name::new(text)))
                }
                other => {
                    Err(Fault::new(format!("{} is not one of the values of {name}", show(&plain(other)))))
                }
            },
            _ => self.scalar(name, plain(value), true).map_err(Fault::new),
        }
    }

    fn input_object(&self, definition: &InputObjectType, value: Json) -> Result<Value, Fault> {
        let name = &definition.name;
        let Json::Object(fields) = value else {
            return Err(Fault::new(format!("an object of type {name} is needed")));
        };
        let mut coerced = IndexMap::with_capacity(fields.len());
        for (field, value) in fields {
            let Some(wanted) = definition.fields.get(field.as_str()) else {
                return Err(Fault::new(format!("{name} has no field {}", cut(&field))));
            };
            match self.value(&wanted.ty, value) {
                Ok(value) => drop(coerced.insert(Name::new(field), value)),
                Err(fault) => return Err(fault.within(Step::Field(field))),
            }
        }
        let missing = definition
            .fields
            .iter()
            .find(|(field, wanted)| wanted.is_required() && !coerced.contains_key(field.as_str()));
        match missing {
            Some((field, wanted)) => {
                Err(Fault::new(format!("the field {field} of {name} is required, its type is {}", wanted.ty)))
            }
            None => Ok(Value::Object(coerced)),
        }
    }

    /// A scalar that is not null. In JSON a number with an empty fraction is an integer.
    pub(super) fn scalar(&self, name: &str, value: Value, json: bool) -> Result<Value, String> {
        let whole = |number: &Number| match number.as_i64() {
            Some(number) => Some(number),
            // Up to here a double holds every whole number.
            None => {
                let number = number.as_f64().filter(|_| json)?;
                (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
            }
        };
        let coerced = match (name, &value) {
            ("Int", Value::Number(number)) => {
                whole(number).and_then(|number| i32::try_from(number).ok()).map(Value::from)
            }
            ("Float", Value::Number(_)) | ("String", Value::String(_)) | ("Boolean", Value::Boolean(_)) => {
                return Ok(value);
            }
            ("ID", Value::String(_)) => return Ok(value),
            ("ID", Value::Number(number)) => whole(number).map(|number| Value::String(number.to_string())),
            ("Int" | "Float" | "String" | "Boolean" | "ID", _) => None,
            ("Decimal", _) => return parsed::<Decimal>(name, value),
            ("DateTime", _) => return parsed::<DateTime>(name, value),
            _ => None,
        };
        coerced.ok_or_else(|| format!("{} is not a value of {name}", show(&value)))
    }
}

/// Asks one of our own scalars, which is asked again by the resolver's argument.
fn parsed<T: ScalarType + async_graphql::InputType>(name: &str, value: Value) -> Result<Value, String> {
    let Err(error) = <T as ScalarType>::parse(value.clone()) else { return Ok(value) };
    let reason = error.into_server_error(async_graphql::Pos::default()).message;
    // "Failed to parse "DateTime": reason"
    let reason = reason.split_once("\": ").map_or("", |(_, reason)| reason);
    Err(format!("{} is not a value of {name}: {reason}", show(&value)))
}

/// A value that is not looked into: no scalar takes a list or an object.
fn plain(value: Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(value),
        Json::Number(number) => Value::Number(number),
        Json::String(text) => Value::String(text),
        Json::Array(_) => Value::List(Vec::new()),
        Json::Object(_) => Value::Object(IndexMap::new()),
    }
}

/// A value in a message.
pub(super) fn show(value: &Value) -> String {
    match value {
        // Not written out: it may be long.
        Value::List(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("{:?}", cut(text)),
        other => cut(&other.to_string()),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// How long a value is in JSON.
pub(in crate::graphql) fn json_size(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Boolean(value) => 5 - usize::from(*value),
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => text_size(text),
        Value::Enum(name) => name.len() + 2,
        Value::Binary(bytes) => bytes.len(),
        Value::List(items) => 2 + items.iter().map(|item| json_size(item) + 1).sum::<usize>(),
        Value::Object(fields) => {
            2 + fields.iter().map(|(name, value)| name.len() + 4 + json_size(value)).sum::<usize>()
        }
    }
}

/// How long a text is in JSON, with its quotes and escapes.
pub(in crate::graphql) fn text_size(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..0x20 => 5,
        _ => 0,
    };
    2 + text.len() + text.bytes().map(escaped).sum::<usize>()
}
