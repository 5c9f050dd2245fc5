//! Reads a document and makes the plans of its operations.

use apollo_compiler::ast;
use apollo_compiler::executable::ExecutableDocument;
use apollo_compiler::parser::{Parser, SourceSpan};
use apollo_compiler::validation::DiagnosticList;
use async_graphql::ServerError;
use domain::ErrorCode;

use super::line_index::LineIndex;
use super::plan::Plan;
use super::planner::plans;
use super::type_system::Language;
use crate::config::Config;
use crate::errors::{MAX_ERRORS, with_code};
use crate::limits::{self, LimitExceeded};

/// Maximum recursion of the parser, which recurses for each selection set, list and object. The limit of brackets is
/// lower.
const MAX_RECURSION: usize = 200;

/// A valid document.
pub(crate) struct Document {
    /// For the limits that depend on the variables of each request.
    pub(crate) ast: ast::Document,
    plans: Vec<Plan>,
}

/// The reason why a document cannot be executed.
pub(crate) enum DocumentError {
    /// It exceeds a limit.
    LimitExceeded(LimitExceeded),
    /// It does not parse or does not fit the schema. At least one error.
    Invalid(Vec<ServerError>),
}

impl Document {
    /// Returns the operation with this name, or the only operation.
    pub(crate) fn operation(&self, name: Option<&str>) -> Result<&Plan, String> {
        match (name, self.plans.as_slice()) {
            (None, [plan]) => Ok(plan),
            (None, _) => Err("the document has several operations: operationName must name one".to_owned()),
            (Some(name), plans) => plans
                .iter()
                .find(|plan| plan.name.as_deref() == Some(name))
                .ok_or_else(|| format!("the document has no operation {name}")),
        }
    }
}

impl Language {
    /// Parses a document, checks its limits, validates it and plans its operations.
    pub(crate) fn read(&self, text: &str, limits: &Config) -> Result<Document, DocumentError> {
        limits::check_text(text, limits).map_err(DocumentError::LimitExceeded)?;
        let lines = LineIndex::new(text);
        let mut parser = Parser::new().recursion_limit(MAX_RECURSION);
        let ast =
            parser.parse_ast(limits::without_descriptions(text), "document.graphql").map_err(|partial| {
                DocumentError::Invalid(errors(&partial.errors, &lines, ErrorCode::ParseFailed))
            })?;
        limits::check_structure(&ast, limits).map_err(DocumentError::LimitExceeded)?;
        let document = self.validate(&ast, &lines)?;
        let plans = plans(self, &document, &ast, &lines)
            .map_err(|error| DocumentError::Invalid(vec![error.into_error()]))?;
        plans.iter().try_for_each(Plan::check_root).map_err(DocumentError::LimitExceeded)?;
        Ok(Document { ast, plans })
    }

    fn validate(&self, ast: &ast::Document, lines: &LineIndex) -> Result<ExecutableDocument, DocumentError> {
        let found = match ast.to_executable_validate(&self.schema) {
            Ok(document) => return Ok(document.into_inner()),
            Err(found) => found,
        };
        let unknown = ast.to_executable(&self.schema).err();
        // Errors that follow from an unknown name, such as a missing selection, are left out.
        let problems = unknown.map_or_else(
            || errors(&found.errors, lines, ErrorCode::ValidationFailed),
            |unknown| errors(&unknown.errors, lines, ErrorCode::ValidationFailed),
        );
        if problems.is_empty() { Ok(found.partial) } else { Err(DocumentError::Invalid(problems)) }
    }
}

/// Converts the errors of apollo-compiler.
///
/// Two of its rules about the root of a subscription are left out: one is stricter than the specification was when most
/// clients were written, the other counts fields that are merged. `Plan::check_root` applies the rule instead.
fn errors(found: &DiagnosticList, lines: &LineIndex, code: ErrorCode) -> Vec<ServerError> {
    let own_rules = ["SubscriptionUsesConditionalSelection", "SubscriptionUsesMultipleFields"];
    let found = found
        .iter()
        .filter(|problem| !problem.error.unstable_error_name().is_some_and(|name| own_rules.contains(&name)));
    let show = |problem: apollo_compiler::diagnostic::Diagnostic<'_, _>| {
        let error: &apollo_compiler::validation::DiagnosticData = problem.error;
        let message = error.unstable_compat_message().unwrap_or_else(|| error.to_string());
        let pos = error_location(error).map(|span| lines.at(span.offset()));
        with_code(ServerError::new(message, pos), code)
    };
    found.take(MAX_ERRORS).map(show).collect()
}

fn error_location(error: &apollo_compiler::validation::DiagnosticData) -> Option<SourceSpan> {
    use apollo_compiler::diagnostic::ToCliReport;
    error.location()
}
