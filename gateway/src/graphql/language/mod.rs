//! The GraphQL language: parse, validate and coerce, before anything is executed.
//!
//! async-graphql executes operations; this module decides what it is given. apollo-compiler parses and
//! validates a document once. What it does not check is checked here: repeated input fields, the
//! positions of variables inside lists and input objects, and the values of our own scalars. Then each
//! operation is turned into a plan. For each request the variables are coerced, and the plan becomes one
//! operation without variables, directives and fragments, in which each response key occurs once. So
//! a value that cannot be coerced is an error before a resolver runs.
//!
//! | step | how often | in |
//! |---|---|---|
//! | parse, measure, validate | once for each document | [`document`] |
//! | plan: types, literals, positions of variables | once for each document | [`planner`], [`literal`] |
//! | coerce variables | for each request | [`coerce`], [`scalar`] |
//! | collect fields | for each request | [`select`] |

mod coerce;
mod document;
mod literal;
mod places;
mod plan;
mod planner;
mod problem;
mod scalar;
mod select;
mod values;

use apollo_compiler::Schema;
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::Valid;

pub(super) use self::document::{Document, Unusable};
pub(super) use self::values::{Coerced, json_size, text_size};

/// The language with the types of our schema.
pub(super) struct Language {
    schema: Valid<Schema>,
}

impl Language {
    /// Reads the schema that the code defines.
    pub(super) fn new() -> Self {
        let schema = Schema::parse_and_validate(super::sdl(), "schema.graphql")
            .map_err(|problems| problems.errors.to_string())
            .expect("the schema is generated from the code, and the tests read it");
        Self { schema }
    }

    /// The object types that a composite type can be at run time.
    fn objects(&self, name: &str) -> Vec<String> {
        match self.schema.types.get(name) {
            Some(ExtendedType::Union(union)) => {
                union.members.iter().map(|member| member.name.to_string()).collect()
            }
            Some(ExtendedType::Interface(_)) => {
                let objects = self.schema.types.values().filter_map(ExtendedType::as_object);
                let implementing = objects.filter(|object| {
                    object.implements_interfaces.iter().any(|interface| interface.name == *name)
                });
                implementing.map(|object| object.name.to_string()).collect()
            }
            _ => vec![name.to_owned()],
        }
    }
}

#[cfg(test)]
mod tests;
