//! `docs/reference/graphql.md`, from `schema.graphql`.

use std::fmt::Write as _;

use apollo_compiler::Node;
use apollo_compiler::ast::{Definition, Document, FieldDefinition, InputValueDefinition, Type};

use super::{HOW_TO_WRITE, cell, compare, link};

const SCHEMA: &str = include_str!("../../../../schema.graphql");

/// The types of the operations, with the headings that they get.
const ROOTS: [(&str, &str); 3] =
    [("Query", "Queries"), ("Mutation", "Mutations"), ("Subscription", "Subscriptions")];

#[test]
fn the_reference_describes_every_field_of_graphql() {
    let document = Document::parse(SCHEMA, "schema.graphql").expect("the schema is valid");
    compare("graphql.md", &page(&document));
}

fn page(document: &Document) -> String {
    let mut page = format!(
        "# GraphQL API\n\n{HOW_TO_WRITE}\n\n[Use the GraphQL API](../guides/graphql.md) is the guide: transports, errors and \
         limits. `orders schema` prints the schema. `/graphiql` and\n`/playground` of a gateway show it with completion.\n"
    );
    for (root, heading) in ROOTS {
        let _ = write!(page, "\n## {heading}\n");
        for definition in &document.definitions {
            if let Definition::ObjectTypeDefinition(object) = definition
                && object.name == root
            {
                object.fields.iter().for_each(|field| describe_operation(&mut page, root, field));
            }
        }
    }
    for (heading, kind) in
        [("Types", Kind::Object), ("Inputs", Kind::Input), ("Enums", Kind::Enum), ("Scalars", Kind::Scalar)]
    {
        let _ = write!(page, "\n## {heading}\n");
        document.definitions.iter().for_each(|definition| describe_type(&mut page, definition, kind));
    }
    page
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Object,
    Input,
    Enum,
    Scalar,
}

/// The heading has the kind of operation, because a type can have the name of a field.
fn describe_operation(page: &mut String, kind: &str, field: &FieldDefinition) {
    let _ = write!(
        page,
        "\n### {kind} {}\n\n{}\n\nReturns {}.\n",
        field.name,
        block(field.description.as_ref()),
        type_of(&field.ty)
    );
    if !field.arguments.is_empty() {
        page.push_str("\n| argument | type | default | |\n|---|---|---|---|\n");
        field.arguments.iter().for_each(|argument| describe_input(page, argument));
    }
}

fn describe_type(page: &mut String, definition: &Definition, kind: Kind) {
    match definition {
        Definition::ObjectTypeDefinition(object)
            if kind == Kind::Object && ROOTS.iter().all(|(root, _)| object.name != *root) =>
        {
            heading(page, &object.name, object.description.as_ref());
            page.push_str("\n| field | type | |\n|---|---|---|\n");
            object.fields.iter().for_each(|field| describe_field(page, field));
        }
        Definition::InterfaceTypeDefinition(interface) if kind == Kind::Object => {
            heading(page, &interface.name, interface.description.as_ref());
            page.push_str("\n| field | type | |\n|---|---|---|\n");
            interface.fields.iter().for_each(|field| describe_field(page, field));
        }
        Definition::UnionTypeDefinition(union_) if kind == Kind::Object => {
            heading(page, &union_.name, union_.description.as_ref());
            let members: Vec<_> = union_.members.iter().map(|name| link(name)).collect();
            let _ = write!(page, "\nOne of {}.\n", members.join(", "));
        }
        Definition::InputObjectTypeDefinition(input) if kind == Kind::Input => {
            heading(page, &input.name, input.description.as_ref());
            page.push_str("\n| field | type | default | |\n|---|---|---|---|\n");
            input.fields.iter().for_each(|field| describe_input(page, field));
        }
        Definition::EnumTypeDefinition(values) if kind == Kind::Enum => {
            heading(page, &values.name, values.description.as_ref());
            page.push_str("\n| value | |\n|---|---|\n");
            for value in &values.values {
                let _ = writeln!(page, "| `{}` | {} |", value.value, line(value.description.as_ref()));
            }
        }
        Definition::ScalarTypeDefinition(scalar) if kind == Kind::Scalar => {
            heading(page, &scalar.name, scalar.description.as_ref());
        }
        _ => {}
    }
}

fn heading(page: &mut String, name: &str, description: Option<&Node<str>>) {
    let _ = write!(page, "\n### {name}\n\n{}\n", block(description));
}

fn describe_field(page: &mut String, field: &FieldDefinition) {
    let mut described = line(field.description.as_ref());
    for argument in &field.arguments {
        let _ = write!(
            described,
            " `{}` ({}): {}",
            argument.name,
            type_of(&argument.ty),
            line(argument.description.as_ref())
        );
    }
    let _ = writeln!(page, "| `{}` | {} | {described} |", field.name, type_of(&field.ty));
}

fn describe_input(page: &mut String, input: &InputValueDefinition) {
    let default = input.default_value.as_ref().map(|value| format!("`{value}`")).unwrap_or_default();
    let described = line(input.description.as_ref());
    let _ = writeln!(page, "| `{}` | {} | {default} | {described} |", input.name, type_of(&input.ty));
}

/// The type with a link, except for the scalars of GraphQL itself.
fn type_of(type_: &Type) -> String {
    let name = type_.inner_named_type().as_str();
    let written = type_.to_string();
    match name {
        "Boolean" | "Float" | "ID" | "Int" | "String" => format!("`{written}`"),
        _ => {
            let (before, after) = written.split_once(name).expect("a type contains its name");
            format!("{}{}{}", before.replace('[', "\\["), link(name), after.replace(']', "\\]"))
        }
    }
}

fn line(description: Option<&Node<str>>) -> String {
    cell(&block(description))
}

fn block(description: Option<&Node<str>>) -> String {
    description.map(|text| text.trim().to_owned()).unwrap_or_default()
}
