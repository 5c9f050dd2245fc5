//! From the text of a document to its plans.

use apollo_compiler::ast;
use apollo_compiler::executable::ExecutableDocument;
use apollo_compiler::parser::{Parser, SourceSpan};
use apollo_compiler::validation::DiagnosticList;
use async_graphql::{Pos, ServerError};

use super::plan::{self, Plan};
use super::{Language, Problem};
use crate::config::GraphqlLimits;
use crate::graphql::errors::{BAD_USER_INPUT, MAX_ERRORS, PARSE_FAILED, VALIDATION_FAILED, with_code};
use crate::graphql::guard::{self, TooMuch};

/// Deepest recursion of the parser, which calls itself for each selection set, list and object. The
/// guard's limit of brackets is below it.
const RECURSION: usize = 200;

/// A document whose operations can be executed.
pub(in crate::graphql) struct Document {
    /// For the guard, which measures it with the variables of each request.
    pub(in crate::graphql) ast: ast::Document,
    plans: Vec<Plan>,
}

/// Why a document cannot be executed.
pub(in crate::graphql) enum Unusable {
    /// It is over a limit.
    TooMuch(TooMuch),
    /// It does not parse or does not fit the schema. At least one error.
    Wrong(Vec<ServerError>),
}

impl Document {
    /// Its operation with this name, or its only one.
    pub(in crate::graphql) fn operation(&self, name: Option<&str>) -> Result<&Plan, String> {
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
    /// Parses a document, measures it, validates it and plans its operations.
    pub(in crate::graphql) fn read(&self, text: &str, limits: &GraphqlLimits) -> Result<Document, Unusable> {
        guard::check_text(text, limits).map_err(Unusable::TooMuch)?;
        let places = Places::new(text);
        let mut parser = Parser::new().recursion_limit(RECURSION);
        let ast = parser
            .parse_ast(guard::without_descriptions(text), "document.graphql")
            .map_err(|partial| Unusable::Wrong(errors(&partial.errors, &places, PARSE_FAILED)))?;
        guard::check_structure(&ast, limits).map_err(Unusable::TooMuch)?;
        let document = self.validate(&ast, &places)?;
        let plans = plan::plans(self, &document, &ast, &places).map_err(|problem| {
            Unusable::Wrong(vec![with_code(problem.problem.into_error(), problem.code)])
        })?;
        plans.iter().try_for_each(Plan::check_root).map_err(Unusable::TooMuch)?;
        Ok(Document { ast, plans })
    }

    fn validate(&self, ast: &ast::Document, places: &Places) -> Result<ExecutableDocument, Unusable> {
        let found = match ast.to_executable_validate(&self.schema) {
            Ok(document) => return Ok(document.into_inner()),
            Err(found) => found,
        };
        let unknown = ast.to_executable(&self.schema).err();
        // What follows from an unknown name, such as a field that seems to select nothing, is not shown.
        let problems = unknown.map_or_else(
            || errors(&found.errors, places, VALIDATION_FAILED),
            |unknown| errors(&unknown.errors, places, VALIDATION_FAILED),
        );
        if problems.is_empty() { Ok(found.partial) } else { Err(Unusable::Wrong(problems)) }
    }
}

/// What apollo-compiler found. Two of its rules about the root of a subscription are left out: one of them
/// is stricter than the specification was when most clients were written, the other one counts fields
/// that are merged. [`plan`] has the rule.
fn errors(found: &DiagnosticList, places: &Places, code: &'static str) -> Vec<ServerError> {
    let own_rules = ["SubscriptionUsesConditionalSelection", "SubscriptionUsesMultipleFields"];
    let found = found
        .iter()
        .filter(|problem| !problem.error.unstable_error_name().is_some_and(|name| own_rules.contains(&name)));
    let show = |problem: apollo_compiler::diagnostic::Diagnostic<'_, _>| {
        let error: &apollo_compiler::validation::DiagnosticData = problem.error;
        let message = error.unstable_compat_message().unwrap_or_else(|| error.to_string());
        let pos = error_location(error).map(|span| places.at(span.offset()));
        with_code(ServerError::new(message, pos), code)
    };
    found.take(MAX_ERRORS).map(show).collect()
}

fn error_location(error: &apollo_compiler::validation::DiagnosticData) -> Option<SourceSpan> {
    use apollo_compiler::diagnostic::ToCliReport;
    error.location()
}

/// What is wrong with a plan, and which code that has.
pub(super) struct Misfit {
    problem: Problem,
    code: &'static str,
}

impl Misfit {
    /// A rule of validation is broken.
    pub(super) fn rule(problem: Problem) -> Self {
        Self { problem, code: VALIDATION_FAILED }
    }
}

/// A literal has a value that its type does not take.
impl From<Problem> for Misfit {
    fn from(problem: Problem) -> Self {
        Self { problem, code: BAD_USER_INPUT }
    }
}

/// Lines and columns of a text by byte. A table, because a search in a long line for each of a
/// thousand fields would take longer than everything else.
pub(super) struct Places(Vec<(u32, u32)>);

impl Places {
    fn new(text: &str) -> Self {
        let mut places = Vec::with_capacity(text.len() + 1);
        let (mut line, mut column) = (1, 1);
        let mut before = '\0';
        for character in text.chars() {
            if before == '\n' || (before == '\r' && character != '\n') {
                (line, column) = (line + 1, 1);
            }
            places.extend(std::iter::repeat_n((line, column), character.len_utf8()));
            column += 1;
            before = character;
        }
        places.push((line, column));
        Self(places)
    }

    /// Of the byte with this number.
    pub(super) fn at(&self, offset: usize) -> Pos {
        let (line, column) = self.0.get(offset).or(self.0.last()).copied().unwrap_or((1, 1));
        Pos { line: line as usize, column: column as usize }
    }

    pub(super) fn of(&self, span: Option<SourceSpan>) -> Pos {
        self.at(span.map_or(0, |span| span.offset()))
    }
}
