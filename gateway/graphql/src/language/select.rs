//! Makes the operation that is executed from a plan and the variables of a request (CollectFields and MergeSelectionSets
//! of the specification), with coerced arguments.

use apollo_compiler::collections::IndexMap;
use async_graphql::parser::types::{
    Field as Selected, InlineFragment, OperationDefinition, OperationType, Selection as Item, SelectionSet,
    TypeCondition,
};
use async_graphql::{Name, Pos, Positioned, ServerError};

use super::located_error::LocatedError;
use super::plan::{Condition, Field, Plan, Selection, Selections};
use super::values::Coerced;
use crate::limits::LimitExceeded;

/// The fields of one object by response key, in the order of the result.
type Collected<'a> = IndexMap<&'a Name, Vec<&'a Field>>;

impl Plan {
    /// Returns the operation that is executed.
    ///
    /// Every variable in it has a value of its type, and each response key occurs once per selection set.
    pub(crate) fn select(&self, variables: &Coerced) -> Result<OperationDefinition, ServerError> {
        if let Some(complete) = &self.complete
            && self.variables.iter().all(|variable| variables.has_value(&variable.name))
        {
            return Ok(complete.clone());
        }
        self.merged(variables)
    }

    /// Returns the operation of a request in which no variable is null or absent.
    ///
    /// It does not depend on the values, because they stay variables.
    pub(super) fn with_all_variables(&self) -> Option<OperationDefinition> {
        let names = self.variables.iter().map(|variable| variable.name.as_str());
        self.merged(&Coerced::with_values(names)).ok()
    }

    fn merged(&self, variables: &Coerced) -> Result<OperationDefinition, ServerError> {
        let set =
            Select { variables }.set(&[&self.selections], &self.root).map_err(LocatedError::into_error)?;
        Ok(OperationDefinition {
            ty: self.kind,
            variable_definitions: self.variables.iter().map(|variable| variable.defined()).collect(),
            directives: Vec::new(),
            selection_set: Positioned::new(set, self.pos),
        })
    }

    /// Checks that a subscription has one root field after fragments are merged. Ignores `@skip` and `@include`.
    pub(super) fn check_root(&self) -> Result<(), LimitExceeded> {
        if self.kind != OperationType::Subscription {
            return Ok(());
        }
        let mut fields = Collected::default();
        let collected = collect(&mut fields, &self.selections, &self.root, &mut |_| Ok(true));
        if collected.is_ok() && fields.len() == 1 {
            return Ok(());
        }
        let message = "a subscription must have exactly one field at its root".to_owned();
        Err(LimitExceeded::new("subscription_fields", message))
    }
}

struct Select<'a> {
    variables: &'a Coerced,
}

impl Select<'_> {
    fn set(&self, sets: &[&Selections], object: &str) -> Result<SelectionSet, LocatedError> {
        let mut fields = Collected::default();
        for set in sets {
            collect(&mut fields, set, object, &mut |conditions| self.holds(conditions))?;
        }
        let items = fields.into_values().map(|same| self.field(&same));
        Ok(SelectionSet { items: items.collect::<Result<_, _>>()? })
    }

    /// Merges fields with the same key into one, which has the selections of all.
    ///
    /// Validation ensures that they have the same name and arguments.
    fn field(&self, same: &[&Field]) -> Result<Positioned<Item>, LocatedError> {
        let first = same[0];
        let sets: Vec<&Selections> = same.iter().map(|field| &field.selections).collect();
        let selected = if first.is_abstract {
            let objects = first.objects.iter().map(|object| self.object(&sets, object, first.pos));
            SelectionSet { items: objects.collect::<Result<_, _>>()? }
        } else {
            match first.objects.first() {
                Some(object) => self.set(&sets, object)?,
                None => SelectionSet { items: Vec::new() },
            }
        };
        let mut arguments = Vec::with_capacity(first.arguments.len());
        for (name, pos, literal) in &first.arguments {
            if let Some(value) = literal.argument(self.variables)? {
                let value = Positioned::new(value, *pos);
                arguments.push((Positioned::new(name.clone(), *pos), value));
            }
        }
        let field = Selected {
            alias: first.alias.clone().map(|alias| Positioned::new(alias, first.pos)),
            name: Positioned::new(first.name.clone(), first.pos),
            arguments,
            directives: Vec::new(),
            selection_set: Positioned::new(selected, first.pos),
        };
        Ok(Positioned::new(Item::Field(Positioned::new(field, first.pos)), first.pos))
    }

    /// Returns the selections of an abstract type for one of its object types.
    fn object(&self, sets: &[&Selections], object: &str, pos: Pos) -> Result<Positioned<Item>, LocatedError> {
        let on = Positioned::new(Name::new(object), pos);
        let fragment = InlineFragment {
            type_condition: Some(Positioned::new(TypeCondition { on }, pos)),
            directives: Vec::new(),
            selection_set: Positioned::new(self.set(sets, object)?, pos),
        };
        Ok(Positioned::new(Item::InlineFragment(Positioned::new(fragment, pos)), pos))
    }

    fn holds(&self, conditions: &[Condition]) -> Result<bool, LocatedError> {
        for condition in conditions {
            match condition.value.boolean(self.variables) {
                Some(value) if value == condition.wanted => {}
                Some(_) => return Ok(false),
                // The value is null: validation permits no variable without a value here.
                None => {
                    let message = "the argument if of @skip and @include must be true or false, and is null";
                    return Err(LocatedError::new(condition.pos, message));
                }
            }
        }
        Ok(true)
    }
}

fn collect<'a>(
    fields: &mut Collected<'a>,
    selections: &'a Selections,
    object: &str,
    holds: &mut impl FnMut(&[Condition]) -> Result<bool, LocatedError>,
) -> Result<(), LocatedError> {
    for selection in selections.iter() {
        match selection {
            Selection::Field(field) => {
                if holds(&field.conditions)? {
                    fields.entry(field.key()).or_default().push(field);
                }
            }
            Selection::Group(group) => {
                let objects = group.objects.as_deref();
                let applies = objects.is_none_or(|objects| objects.iter().any(|name| name == object));
                if applies && holds(&group.conditions)? {
                    collect(fields, &group.selections, object, holds)?;
                }
            }
        }
    }
    Ok(())
}
