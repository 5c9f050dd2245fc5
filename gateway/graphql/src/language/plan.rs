//! The plan of an operation: its selections with the types of the schema, before variables are known.

use std::sync::Arc;

use apollo_compiler::ast::Type;
use async_graphql::parser::types::{
    BaseType, OperationDefinition, OperationType, Type as Kind, VariableDefinition,
};
use async_graphql::{Name, Pos, Positioned, Value};

use super::literal::Literal;

/// An operation of a document.
pub(crate) struct Plan {
    pub(crate) name: Option<String>,
    pub(crate) kind: OperationType,
    /// Whether it selects a list that may be long; the length of its result then depends on the data.
    pub(crate) has_lists: bool,
    pub(super) pos: Pos,
    /// The name of the root type.
    pub(super) root: String,
    pub(super) variables: Vec<Variable>,
    pub(super) selections: Selections,
    /// The operation of a request with values for all variables; `None` if it has `@skip` or `@include`.
    pub(super) complete: Option<OperationDefinition>,
}

pub(super) struct Variable {
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) default: Option<Value>,
    pub(super) pos: Pos,
}

pub(super) type Selections = Arc<[Selection]>;

pub(super) enum Selection {
    Field(Field),
    Group(Group),
}

/// A field of the document.
pub(super) struct Field {
    pub(super) alias: Option<Name>,
    pub(super) name: Name,
    pub(super) pos: Pos,
    pub(super) arguments: Vec<(Name, Pos, Literal)>,
    pub(super) conditions: Vec<Condition>,
    /// The possible object types of its value; empty for scalars and enums.
    pub(super) objects: Arc<[String]>,
    /// Whether its type is an interface or a union.
    pub(super) is_abstract: bool,
    pub(super) selections: Selections,
}

/// An inline fragment or a fragment spread.
pub(super) struct Group {
    pub(super) conditions: Vec<Condition>,
    /// The object types to which it applies; `None` for all.
    pub(super) objects: Option<Arc<[String]>>,
    pub(super) selections: Selections,
}

/// `@skip` or `@include`.
pub(super) struct Condition {
    /// The value of `if` that includes the selection.
    pub(super) wanted: bool,
    pub(super) value: Literal,
    pub(super) pos: Pos,
}

impl Variable {
    /// Returns the definition that async-graphql requires for a variable. The value is already coerced to its type.
    pub(super) fn defined(&self) -> Positioned<VariableDefinition> {
        let ty = Kind { base: BaseType::Named(Name::new(self.ty.inner_named_type())), nullable: true };
        let definition = VariableDefinition {
            name: Positioned::new(Name::new(&self.name), self.pos),
            var_type: Positioned::new(ty, self.pos),
            directives: Vec::new(),
            default_value: None,
        };
        Positioned::new(definition, self.pos)
    }
}

impl Field {
    /// Returns its response key.
    pub(super) fn key(&self) -> &Name {
        self.alias.as_ref().unwrap_or(&self.name)
    }
}
