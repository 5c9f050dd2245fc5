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
