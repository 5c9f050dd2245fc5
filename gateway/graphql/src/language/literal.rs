//! Reads the literals of a document and coerces them to the types where they are used.

use apollo_compiler::Node;
use apollo_compiler::ast::{Type, Value as Written};
use apollo_compiler::schema::ExtendedType;
use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Number, Pos, Value};
use async_graphql_value::Value as Argument;

use super::line_index::LineIndex;
use super::located_error::LocatedError;
use super::type_system::Language;
use super::values::Coerced;

/// A value of a document. Values without variables are coerced constants.
#[derive(Debug, Clone)]
pub(super) enum Literal {
    Constant(Value),
    Variable { name: String, non_null: bool, pos: Pos },
    List(Vec<Literal>),
    Object(Vec<(Name, Literal)>),
}

/// A use of a variable.
pub(super) struct Usage {
    pub(super) name: String,
    pub(super) ty: Type,
    /// Whether the argument or input field has a default for an absent variable.
    pub(super) has_default: bool,
    pub(super) pos: Pos,
}

impl Literal {
    /// Returns the argument that is executed; `None` for a variable without a value.
    ///
    /// Variables with a value stay variables; async-graphql copies their values when it resolves a field.
    pub(super) fn argument(&self, variables: &Coerced) -> Result<Option<Argument>, LocatedError> {
        Ok(Some(match self {
            Self::Constant(value) => value.clone().into_value(),
            Self::Variable { name, non_null, pos } => match variables.get(name) {
                Some(Value::Null) if *non_null => {
                    let message = format!("the variable ${name} is null where a value is required");
                    return Err(LocatedError::new(*pos, message));
                }
                Some(_) => Argument::Variable(Name::new(name)),
                None => return Ok(None),
            },
            Self::List(items) => {
                let argument = |item: &Self| Ok(item.argument(variables)?.unwrap_or(Argument::Null));
                Argument::List(items.iter().map(argument).collect::<Result<_, LocatedError>>()?)
            }
            Self::Object(fields) => {
                let mut object = IndexMap::with_capacity(fields.len());
                for (name, field) in fields {
                    if let Some(value) = field.argument(variables)? {
                        object.insert(name.clone(), value);
                    }
                }
                Argument::Object(object)
            }
        }))
    }

    /// Returns its value if it is a boolean.
    pub(super) fn boolean(&self, variables: &Coerced) -> Option<bool> {
        let value = match self {
            Self::Constant(value) => value,
            Self::Variable { name, .. } => variables.get(name)?,
            Self::List(_) | Self::Object(_) => return None,
        };
        match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }
}

/// Reads the literals of one operation or fragment.
pub(super) struct Literals<'a> {
    pub(super) language: &'a Language,
    pub(super) lines: &'a LineIndex,
    /// The uses of variables so far.
    pub(super) usages: Vec<Usage>,
}

impl Literals<'_> {
    /// Reads a value of a type. `has_default` is true if the argument or input field has a default.
    pub(super) fn read(
        &mut self,
        ty: &Type,
        has_default: bool,
        written: &Node<Written>,
    ) -> Result<Literal, LocatedError> {
        let pos = self.lines.of(written.location());
        if let Written::Variable(name) = &**written {
            let name = name.to_string();
            self.usages.push(Usage { name: name.clone(), ty: ty.clone(), has_default, pos });
            return Ok(Literal::Variable { name, non_null: ty.is_non_null(), pos });
        }
        if written.is_null() {
            return if ty.is_non_null() {
                Err(LocatedError::new(pos, format!("null is given where {ty} is required")))
            } else {
                Ok(Literal::Constant(Value::Null))
            };
        }
        if ty.is_list() {
            let items = match &**written {
                Written::List(items) => items.as_slice(),
                _ => std::slice::from_ref(written),
            };
            let items = items.iter().map(|item| self.read(ty.item_type(), false, item));
            return Ok(list(items.collect::<Result<_, _>>()?));
        }
        let name = ty.inner_named_type();
        match self.language.schema.types.get(name) {
            Some(ExtendedType::InputObject(_)) => self.object(name, pos, written),
            Some(ExtendedType::Enum(definition)) => match &**written {
                Written::Enum(value) if definition.values.contains_key(value) => {
                    Ok(Literal::Constant(Value::Enum(Name::new(value))))
                }
                _ => Err(LocatedError::new(pos, format!("{written} is not one of the values of {name}"))),
            },
            // An ID may be an integer of any length, because it is a string.
            _ => {
                let value = match &**written {
                    Written::Int(number) if name == "ID" => Some(Value::String(number.as_str().to_owned())),
                    other => constant(other),
                };
                let value = value
                    .ok_or_else(|| LocatedError::new(pos, format!("{written} is not a value of {name}")))?;
                let value = self.language.scalar(name, value, false);
                value.map(Literal::Constant).map_err(|problem| LocatedError::new(pos, problem))
            }
        }
    }

    fn object(&mut self, name: &str, pos: Pos, written: &Node<Written>) -> Result<Literal, LocatedError> {
        let language = self.language;
        let (Some(definition), Written::Object(fields)) =
            (language.schema.get_input_object(name), &**written)
        else {
            return Err(LocatedError::new(pos, format!("an object of type {name} is needed here")));
        };
        let mut read: Vec<(Name, Literal)> = Vec::with_capacity(fields.len());
        for (field, value) in fields {
            let pos = self.lines.of(field.location());
            if read.iter().any(|(known, _)| known == field.as_str()) {
                return Err(LocatedError::new(
                    pos,
                    format!("the input field {field} is given more than once"),
                ));
            }
            let Some(wanted) = definition.fields.get(field) else {
                return Err(LocatedError::new(pos, format!("{name} has no field {field}")));
            };
            let literal = self.read(&wanted.ty, wanted.default_value.is_some(), value)?;
            read.push((Name::new(field), literal));
        }
        for (field, wanted) in &definition.fields {
            if wanted.is_required() && !read.iter().any(|(known, _)| known == field.as_str()) {
                let message = format!("the field {field} of {name} is required, its type is {}", wanted.ty);
                return Err(LocatedError::new(pos, message));
            }
        }
        Ok(object(read))
    }
}

fn list(items: Vec<Literal>) -> Literal {
    if !items.iter().all(|item| matches!(item, Literal::Constant(_))) {
        return Literal::List(items);
    }
    let values = items.into_iter().filter_map(|item| match item {
        Literal::Constant(value) => Some(value),
        Literal::Variable { .. } | Literal::List(_) | Literal::Object(_) => None,
    });
    Literal::Constant(Value::List(values.collect()))
}

fn object(fields: Vec<(Name, Literal)>) -> Literal {
    if !fields.iter().all(|(_, field)| matches!(field, Literal::Constant(_))) {
        return Literal::Object(fields);
    }
    let values = fields.into_iter().filter_map(|(name, field)| match field {
        Literal::Constant(value) => Some((name, value)),
        Literal::Variable { .. } | Literal::List(_) | Literal::Object(_) => None,
    });
    Literal::Constant(Value::Object(values.collect()))
}

/// Returns a scalar as written; `None` for other values and for numbers out of range.
fn constant(written: &Written) -> Option<Value> {
    match written {
        Written::String(text) => Some(Value::String(text.clone())),
        Written::Boolean(value) => Some(Value::Boolean(*value)),
        Written::Int(number) => number.as_str().parse::<Number>().ok().map(Value::Number),
        Written::Float(number) => number.as_str().parse::<Number>().ok().map(Value::Number),
        Written::Null | Written::Enum(_) | Written::Variable(_) | Written::List(_) | Written::Object(_) => {
            None
        }
    }
}
