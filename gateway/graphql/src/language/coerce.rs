//! Coerces the values of variables (CoerceVariableValues of the specification).

use apollo_compiler::ast::Type;
use apollo_compiler::schema::{ExtendedType, InputObjectType};
use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, ServerError, Value, Variables};
use serde_json::{Map, Value as Json};

use super::located_error::LocatedError;
use super::plan::Plan;
use super::scalar::{cut, show};
use super::type_system::Language;
use super::values::Coerced;

/// An invalid value and the path to it, from the innermost step outwards.
struct CoercionError {
    /// Empty if the value is null or absent where one is required.
    message: String,
    path: Vec<Step>,
}

/// A step of the path into a value.
enum Step {
    Field(String),
    Index(usize),
}

impl CoercionError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), path: Vec::new() }
    }

    fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    fn message_for(&self, name: &str, ty: &Type) -> String {
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
    /// Coerces the variables of an operation; undeclared variables are ignored.
    pub(crate) fn coerce(
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
                (None, None) if ty.is_non_null() => Err(CoercionError::new("")),
                (None, None) => continue,
            };
            let value = value.map_err(|error| {
                LocatedError::new(definition.pos, error.message_for(name, ty)).into_error()
            })?;
            coerced.insert(Name::new(name), value);
        }
        Ok(coerced.into())
    }

    fn value(&self, ty: &Type, value: Json) -> Result<Value, CoercionError> {
        if value.is_null() {
            return if ty.is_non_null() { Err(CoercionError::new("")) } else { Ok(Value::Null) };
        }
        if ty.is_list() {
            let Json::Array(items) = value else {
                return self.value(ty.item_type(), value).map(|item| Value::List(vec![item]));
            };
            let item = |(index, item)| {
                self.value(ty.item_type(), item).map_err(|error| error.within(Step::Index(index)))
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
                other => Err(CoercionError::new(format!(
                    "{} is not one of the values of {name}",
                    show(&plain(other))
                ))),
            },
            _ => self.scalar(name, plain(value), true).map_err(CoercionError::new),
        }
    }

    fn input_object(&self, definition: &InputObjectType, value: Json) -> Result<Value, CoercionError> {
        let name = &definition.name;
        let Json::Object(fields) = value else {
            return Err(CoercionError::new(format!("an object of type {name} is needed")));
        };
        let mut coerced = IndexMap::with_capacity(fields.len());
        for (field, value) in fields {
            let Some(wanted) = definition.fields.get(field.as_str()) else {
                return Err(CoercionError::new(format!("{name} has no field {}", cut(&field))));
            };
            match self.value(&wanted.ty, value) {
                Ok(value) => drop(coerced.insert(Name::new(field), value)),
                Err(error) => return Err(error.within(Step::Field(field))),
            }
        }
        let missing = definition
            .fields
            .iter()
            .find(|(field, wanted)| wanted.is_required() && !coerced.contains_key(field.as_str()));
        match missing {
            Some((field, wanted)) => Err(CoercionError::new(format!(
                "the field {field} of {name} is required, its type is {}",
                wanted.ty
            ))),
            None => Ok(Value::Object(coerced)),
        }
    }
}

/// Converts a value for a scalar. Lists and objects become empty, because no scalar accepts them.
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
