//! The GraphQL language: parses, validates and coerces before an operation is executed.
//!
//! apollo-compiler parses and validates a document once. This module checks what apollo-compiler does not: repeated
//! input fields, variables inside lists and input objects, and the values of custom scalars. It then makes a plan of
//! each operation. For each request it coerces the variables and makes one operation of the plan, without directives
//! and fragments, in which each response key occurs once. async-graphql executes that operation. A value that cannot be
//! coerced is therefore an error before a resolver runs.
//!
//! async-graphql alone is not sufficient: it does not coerce variables, does not check their positions or overlapping
//! fields, and executes a field twice that is selected twice. A test compares the results with graphql-js.
//!
//! | step | how often | in |
//! |---|---|---|
//! | parse, check limits, validate | once for each document | [`document`] |
//! | plan: types, literals, positions of variables | once for each document | [`planner`], [`literal`] |
//! | coerce variables | for each request | [`coerce`], [`scalar`] |
//! | collect fields | for each request | [`select`] |

mod coerce;
mod document;
mod line_index;
mod literal;
mod located_error;
mod plan;
mod planner;
mod scalar;
mod select;
mod type_system;
mod values;

pub(crate) use self::document::{Document, DocumentError};
pub(crate) use self::type_system::Language;
pub(crate) use self::values::{Coerced, json_size, text_size};

#[cfg(test)]
mod tests;
