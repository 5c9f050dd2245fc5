//! Makes the plans of the operations of a valid document.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use apollo_compiler::Node;
use apollo_compiler::ast::{self, Argument, DirectiveList, InputValueDefinition, Type};
use apollo_compiler::executable::{self, ExecutableDocument, Operation, SelectionSet};
use async_graphql::parser::types::OperationType;
use async_graphql::{Name, Pos, Value};

use super::line_index::LineIndex;
use super::literal::{Literal, Literals, Usage};
use super::located_error::{LocatedError, PlanError};
use super::plan::{Condition, Field, Group, Plan, Selection, Selections, Variable};
use super::type_system::Language;

/// The type of `userErrors`.
const USER_ERROR: &str = "UserError";

/// Plans every operation of a valid document.
pub(super) fn plans(
    language: &Language,
    document: &ExecutableDocument,
    ast: &ast::Document,
    lines: &LineIndex,
) -> Result<Vec<Plan>, PlanError> {
    let mut planner = Planner { language, document, lines, fragments: HashMap::new() };
    repeated_definitions(ast, lines)?;
    document.operations.iter().map(|operation| planner.operation(operation)).collect()
}

/// Rejects repeated names: apollo-compiler keeps the first definition, and the others must not run.
fn repeated_definitions(ast: &ast::Document, lines: &LineIndex) -> Result<(), PlanError> {
    let mut names = HashSet::new();
    for definition in &ast.definitions {
        if let Some(name) = definition.name()
            && !names.insert((definition.as_fragment_definition().is_some(), name))
        {
            let message = format!("{name} is defined more than once");
            return Err(PlanError::rule(LocatedError::new(lines.of(definition.location()), message)));
        }
    }
    Ok(())
}

struct Planner<'a> {
    language: &'a Language,
    document: &'a ExecutableDocument,
    lines: &'a LineIndex,
    fragments: HashMap<&'a str, Arc<PlannedSet>>,
}

/// The selections of an operation or a fragment, and its uses of variables and fragments.
struct PlannedSet {
    selections: Selections,
    usages: Vec<Usage>,
    has_lists: bool,
    has_conditions: bool,
    /// Every fragment that it spreads, at any depth.
    spreads: BTreeSet<String>,
}

impl<'a> Planner<'a> {
    fn operation(&mut self, operation: &'a Node<Operation>) -> Result<Plan, PlanError> {
        let pos = self.lines.of(operation.location());
        let planned_set = self.planned_set(&operation.selection_set)?;
        let variables = self.variables(operation)?;
        for usage in &planned_set.usages {
            check_position(&variables, usage)?;
        }
        let (mut has_lists, mut has_conditions) = (planned_set.has_lists, planned_set.has_conditions);
        for spread in &planned_set.spreads {
            if let Some(fragment) = self.fragments.get(spread.as_str()) {
                has_lists |= fragment.has_lists;
                has_conditions |= fragment.has_conditions;
                for usage in &fragment.usages {
                    check_position(&variables, usage)?;
                }
            }
        }
        let kind = match operation.operation_type {
            ast::OperationType::Query => OperationType::Query,
            ast::OperationType::Mutation => OperationType::Mutation,
            ast::OperationType::Subscription => OperationType::Subscription,
        };
        let root = operation.object_type().to_string();
        let name = operation.name.as_ref().map(ToString::to_string);
        let selections = planned_set.selections;
        let mut plan = Plan { name, kind, has_lists, pos, root, variables, selections, complete: None };
        if !has_conditions {
            plan.complete = plan.with_all_variables();
        }
        Ok(plan)
    }

    fn variables(&self, operation: &Operation) -> Result<Vec<Variable>, PlanError> {
        let read = |definition: &Node<ast::VariableDefinition>| {
            let default = match &definition.default_value {
                Some(written) => match self.literals().read(&definition.ty, false, written)? {
                    Literal::Constant(value) => Some(value),
                    Literal::Variable { pos, .. } => {
                        let message = "a default value must not hold variables".to_owned();
                        return Err(PlanError::rule(LocatedError::new(pos, message)));
                    }
                    Literal::List(_) | Literal::Object(_) => {
                        let pos = self.lines.of(written.location());
                        let message = "a default value must not hold variables".to_owned();
                        return Err(PlanError::rule(LocatedError::new(pos, message)));
                    }
                },
                None => None,
            };
            let pos = self.lines.of(definition.location());
            let ty = Type::clone(&definition.ty);
            Ok(Variable { name: definition.name.to_string(), ty, default, pos })
        };
        operation.variables.iter().map(read).collect()
    }

    fn literals(&self) -> Literals<'a> {
        Literals { language: self.language, lines: self.lines, usages: Vec::new() }
    }

    fn planned_set(&mut self, set: &'a SelectionSet) -> Result<PlannedSet, PlanError> {
        let mut collector = Collector {
            literals: self.literals(),
            spreads: BTreeSet::new(),
            has_lists: false,
            has_conditions: false,
        };
        let selections = self.selections(set, &mut collector)?;
        let Collector { literals, spreads, has_lists, has_conditions } = collector;
        Ok(PlannedSet { selections, usages: literals.usages, has_lists, has_conditions, spreads })
    }

    /// Plans a fragment once. The limits have excluded cycles.
    fn fragment(&mut self, fragment: &'a executable::Fragment) -> Result<Arc<PlannedSet>, PlanError> {
        if let Some(known) = self.fragments.get(fragment.name.as_str()) {
            return Ok(Arc::clone(known));
        }
        let planned_set = Arc::new(self.planned_set(&fragment.selection_set)?);
        self.fragments.insert(fragment.name.as_str(), Arc::clone(&planned_set));
        Ok(planned_set)
    }

    fn selections(
        &mut self,
        set: &'a SelectionSet,
        collector: &mut Collector<'a>,
    ) -> Result<Selections, PlanError> {
        let mut selections = Vec::with_capacity(set.selections.len());
        for selection in &set.selections {
            selections.push(match selection {
                executable::Selection::Field(field) => {
                    collector.has_lists |= field.ty().is_list() && !is_short_list(&set.ty, field);
                    Selection::Field(self.field(field, collector)?)
                }
                executable::Selection::InlineFragment(inline) => Selection::Group(Group {
                    conditions: collector.conditions(&inline.directives)?,
                    objects: inline.type_condition.as_ref().map(|name| self.language.objects(name).into()),
                    selections: self.selections(&inline.selection_set, collector)?,
                }),
                executable::Selection::FragmentSpread(spread) => {
                    let name = spread.fragment_name.as_str();
                    let Some(fragment) = self.document.fragments.get(name) else {
                        let pos = self.lines.of(spread.location());
                        return Err(PlanError::rule(LocatedError::new(
                            pos,
                            format!("there is no fragment {name}"),
                        )));
                    };
                    let planned_set = self.fragment(fragment)?;
                    collector.spreads.insert(name.to_owned());
                    collector.spreads.extend(planned_set.spreads.iter().cloned());
                    Selection::Group(Group {
                        conditions: collector.conditions(&spread.directives)?,
                        objects: Some(self.language.objects(fragment.type_condition()).into()),
                        selections: Arc::clone(&planned_set.selections),
                    })
                }
            });
        }
        Ok(selections.into())
    }

    fn field(
        &mut self,
        field: &'a Node<executable::Field>,
        collector: &mut Collector<'a>,
    ) -> Result<Field, PlanError> {
        let ty = field.ty();
        let objects = if field.selection_set.selections.is_empty() {
            Vec::new()
        } else {
            self.language.objects(ty.inner_named_type())
        };
        let is_abstract = objects.first().is_some_and(|name| *name != ty.inner_named_type().as_str());
        Ok(Field {
            alias: field.alias.as_ref().map(Name::new),
            name: Name::new(&field.name),
            pos: self.lines.of(field.location()),
            arguments: collector.arguments(&field.definition.arguments, &field.arguments)?,
            conditions: collector.conditions(&field.directives)?,
            objects: objects.into(),
            is_abstract,
            selections: self.selections(&field.selection_set, collector)?,
        })
    }
}

/// Returns whether a list is short: `userErrors` and their fields.
///
/// A response has at most [`MAX_ERRORS`] of them, each with one sentence.
///
/// [`MAX_ERRORS`]: crate::response_budget::MAX_ERRORS
fn is_short_list(parent: &str, field: &executable::Field) -> bool {
    parent == USER_ERROR || field.ty().inner_named_type() == USER_ERROR
}

/// Collects the properties of an operation or a fragment.
struct Collector<'a> {
    literals: Literals<'a>,
    spreads: BTreeSet<String>,
    has_lists: bool,
    has_conditions: bool,
}

impl Collector<'_> {
    fn arguments(
        &mut self,
        definitions: &[Node<InputValueDefinition>],
        arguments: &[Node<Argument>],
    ) -> Result<Vec<(Name, Pos, Literal)>, PlanError> {
        let mut read = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let pos = self.literals.lines.of(argument.location());
            let Some(definition) = definitions.iter().find(|known| known.name == argument.name) else {
                let message = format!("there is no argument {}", argument.name);
                return Err(PlanError::rule(LocatedError::new(pos, message)));
            };
            let has_default = definition.default_value.is_some();
            let literal = self.literals.read(&definition.ty, has_default, &argument.value)?;
            read.push((Name::new(&argument.name), pos, literal));
        }
        Ok(read)
    }

    fn conditions(&mut self, directives: &DirectiveList) -> Result<Vec<Condition>, PlanError> {
        self.has_conditions |= !directives.is_empty();
        let mut conditions = Vec::with_capacity(directives.len());
        for directive in directives.iter() {
            let pos = self.literals.lines.of(directive.location());
            let wanted = match directive.name.as_str() {
                "include" => true,
                "skip" => false,
                name => {
                    let message = format!("there is no directive @{name} for this place");
                    return Err(PlanError::rule(LocatedError::new(pos, message)));
                }
            };
            let definition = self.literals.language.schema.directive_definitions.get(&directive.name);
            let definitions = definition.map(|definition| definition.arguments.as_slice());
            let read = self.arguments(definitions.unwrap_or_default(), &directive.arguments)?;
            let Some((_, _, value)) = read.into_iter().find(|(name, _, _)| name == "if") else {
                return Err(PlanError::rule(LocatedError::new(pos, "the argument if is required")));
            };
            conditions.push(Condition { wanted, value, pos });
        }
        Ok(conditions)
    }
}

/// Checks the use of a variable (IsVariableUsageAllowed of the specification).
fn check_position(variables: &[Variable], usage: &Usage) -> Result<(), PlanError> {
    let name = &usage.name;
    let Some(variable) = variables.iter().find(|variable| variable.name == *name) else {
        let message = format!("the variable ${name} is not declared by every operation that uses it");
        return Err(PlanError::rule(LocatedError::new(usage.pos, message)));
    };
    let has_value = variable.default.as_ref().is_some_and(|default| *default != Value::Null);
    let needed = if usage.ty.is_non_null() && (has_value || usage.has_default) {
        usage.ty.clone().nullable()
    } else {
        usage.ty.clone()
    };
    if variable.ty.is_assignable_to(&needed) {
        return Ok(());
    }
    let message =
        format!("the variable ${name} of type {} is used where {} is required", variable.ty, usage.ty);
    Err(PlanError::rule(LocatedError::new(usage.pos, message)))
}
