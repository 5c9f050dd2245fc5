//! Values of variables, as the specification has it in CoerceVariableValues.

use std::collections::HashMap;

use apollo_compiler::ast::Type;
use apollo_compiler::schema::ExtendedType;
use async_graphql::{Name, Number, ScalarType, Value, Variables};

use super::plan::Plan;
use super::{Language, Problem};
use crate::graphql::scalars::{DateTime, Decimal};

/// Most characters of a value in a message.
const SHOWN: usize = 60;

/// The values of the variables of one request. A variable that was left out and has no default is
/// not in it.
#[derive(Debug, Default)]
pub(in crate::graphql) struct Coerced(HashMap<String, Value>);

impl Coerced {
    pub(in crate::graphql) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// For the engine.
    pub(in crate::graphql) fn into_variables(self) -> Variables {
        let mut variables = Variables::default();
        variables.extend(self.0.into_iter().map(|(name, value)| (Name::new(name), value)));
        variables
    }

    #[cfg(test)]
    pub(in crate::graphql) fn unchecked(variables: Variables) -> Self {
        Self(variables.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
    }
}

impl Language {
    /// Coerces the variables of an operation; others are ignored.
    pub(in crate::graphql) fn coerce(
        &self,
        plan: &Plan,
        mut variables: Variables,
    ) -> Result<Coerced, async_graphql::ServerError> {
        let mut coerced = HashMap::with_capacity(plan.variables.len());
        for definition in &plan.variables {
            let (name, ty) = (&definition.name, &definition.ty);
            let problem = |message| Problem::new(definition.pos, message).into_error();
            match variables.remove(name.as_str()) {
                Some(value) => {
                    let mut path = Vec::new();
                    let value = self.value(ty, value, &mut path).map_err(|message| {
                        problem(if path.is_empty() && message.is_empty() {
                            format!("the variable ${name} of type {ty} is required")
                        } else {
                            at(name, &path, &message, ty)
                        })
                    })?;
                    coerced.insert(name.clone(), value);
                }
                None => match &definition.default {
                    Some(default) => drop(coerced.insert(name.clone(), default.clone())),
                    None if ty.is_non_null() => {
                        return Err(problem(format!("the variable ${name} of type {ty} is required")));
                    }
                    None => {}
                },
            }
        }
        Ok(Coerced(coerced))
    }

    /// `path` is where the value is, and after an error where that is. The message is empty when a null
    /// is the error.
    fn value(&self, ty: &Type, value: Value, path: &mut Vec<Step>) -> Result<Value, String> {
        if value == Value::Null {
            return if ty.is_non_null() { Err(String::new()) } else { Ok(Value::Null) };
        }
        if ty.is_list() {
            let Value::List(items) = value else {
                return self.value(ty.item_type(), value, path).map(|item| Value::List(vec![item]));
            };
            let mut coerced = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                path.push(Step::Index(index));
                coerced.push(self.value(ty.item_type(), item, path)?);
                path.pop();
            }
            return Ok(Value::List(coerced));
        }
        let name = ty.inner_named_type();
        match self.schema.types.get(name) {
            Some(ExtendedType::InputObject(_)) => self.input_object(name, value, path),
            Some(ExtendedType::Enum(definition)) => match &value {
                Value::String(text) if definition.values.contains_key(text.as_str()) => {
                    Ok(Value::Enum(Name::new(text)))
                }
                _ => Err(format!("{} is not one of the values of {name}", show(&value))),
            },
            _ => self.scalar(name, value, true),
        }
    }

    fn input_object(&self, name: &str, value: Value, path: &mut Vec<Step>) -> Result<Value, String> {
        let (Some(definition), Value::Object(mut fields)) = (self.schema.get_input_object(name), value)
        else {
            return Err(format!("an object of type {name} is needed"));
        };
        let mut coerced = async_graphql::indexmap::IndexMap::with_capacity(fields.len());
        for (field, wanted) in &definition.fields {
            let Some(value) = fields.swap_remove(field.as_str()) else {
                if wanted.is_required() {
                    return Err(format!(
                        "the field {field} of {name} is required, its type is {}",
                        wanted.ty
                    ));
                }
                continue;
            };
            path.push(Step::Field(field.to_string()));
            coerced.insert(Name::new(field), self.value(&wanted.ty, value, path)?);
            path.pop();
        }
        match fields.keys().next() {
            Some(unknown) => Err(format!("{name} has no field {}", cut(unknown))),
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
    let shown = show(&value);
    match <T as ScalarType>::parse(value.clone()) {
        Ok(_) => Ok(value),
        Err(error) => {
            let reason = error.into_server_error(async_graphql::Pos::default()).message;
            // "Failed to parse "DateTime": reason"
            let reason = reason.split_once("\": ").map_or("", |(_, reason)| reason);
            Err(format!("{shown} is not a value of {name}: {reason}"))
        }
    }
}

/// A step from a value into it.
enum Step {
    Field(String),
    Index(usize),
}

fn at(name: &str, path: &[Step], message: &str, ty: &Type) -> String {
    let mut place = format!("${name}");
    for step in path {
        match step {
            Step::Field(field) => place.extend([".", field]),
            Step::Index(index) => place.push_str(&format!("[{index}]")),
        }
    }
    if message.is_empty() {
        format!("the variable ${name} of type {ty} is null at {place}, where a value is required")
    } else {
        format!("the variable ${name} has a wrong value at {place}: {message}")
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
