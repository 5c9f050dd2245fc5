//! What an operation selects, with the types of the schema: what is known before there are variables.

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
    /// Whether it selects a list that may be long, so that the length of its result depends on more than its text.
    pub(crate) has_lists: bool,
    pub(super) pos: Pos,
    /// The name of the root type.
    pub(super) root: String,
    pub(super) variables: Vec<Variable>,
    pub(super) selections: Selections,
    /// The operation of every request that gives all variables a value; `None` when `@skip` or `@include` is in it.
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

/// A field as it is written.
pub(super) struct Field {
    pub(super) alias: Option<Name>,
    pub(super) name: Name,
    pub(super) pos: Pos,
    pub(super) arguments: Vec<(Name, Pos, Literal)>,
    pub(super) conditions: Vec<Condition>,
    /// The object types that its value can have; empty for scalars and enums.
    pub(super) objects: Arc<[String]>,
    /// Whether its type is an interface or a union.
    pub(super) is_abstract: bool,
    pub(super) selections: Selections,
}

/// An inline fragment or a spread.
pub(super) struct Group {
    pub(super) conditions: Vec<Condition>,
    /// The object types that it applies to; `None` for all.
    pub(super) objects: Option<Arc<[String]>>,
    pub(super) selections: Selections,
}

/// `@skip` or `@include`.
pub(super) struct Condition {
    /// What `if` has to be for the selection to be there.
    pub(super) wanted: bool,
    pub(super) value: Literal,
    pub(super) pos: Pos,
}

impl Variable {
    /// For the engine, which looks for a definition when it needs a value. The type was seen to before.
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
    /// Its key in the result.
    pub(super) fn key(&self) -> &Name {
        self.alias.as_ref().unwrap_or(&self.name)
    }
}
