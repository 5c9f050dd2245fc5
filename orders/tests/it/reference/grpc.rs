//! `docs/reference/grpc.md`, from the descriptors of gRPC reflection.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

use super::{HOW_TO_WRITE, cell, compare, link};

/// The numbers of fields in the descriptors, of which the path of a comment consists.
const FILE_PACKAGE: i32 = 2;
const FILE_MESSAGES: i32 = 4;
const FILE_SERVICES: i32 = 6;
const SERVICE_METHODS: i32 = 2;
const MESSAGE_FIELDS: i32 = 2;
const FILE_SYNTAX: i32 = 12;

#[test]
fn the_reference_describes_every_message_of_grpc() {
    let descriptors = FileDescriptorSet::decode(proto::DESCRIPTORS).expect("the descriptors can be decoded");
    let file = descriptors.file.iter().find(|file| file.package() == "orders.v1").expect("the API is there");
    compare("grpc.md", &page(file));
}

/// The comments of a file by the path of what they describe.
type Comments<'a> = BTreeMap<&'a [i32], String>;

fn page(file: &FileDescriptorProto) -> String {
    let locations = || file.source_code_info.iter().flat_map(|info| &info.location);
    let comments: Comments<'_> = locations()
        .map(|location| (location.path.as_slice(), without_indent(location.leading_comments())))
        .collect();
    let sections: BTreeMap<&[i32], (String, String)> = locations()
        .filter_map(|location| {
            let mut detached = location.leading_detached_comments.iter();
            let section = detached.find_map(|comment| section(&without_indent(comment)))?;
            Some((location.path.as_slice(), section))
        })
        .collect();
    let mut page = format!(
        "# gRPC API\n\n{HOW_TO_WRITE}\n\n[Write a worker in another language](../guides/handler-other.md) is the guide. \
         The file is `proto/orders/v1/orders.proto`; the gateway\nserves it by reflection, so `grpcurl` needs no file.\n"
    );
    for path in [[FILE_SYNTAX], [FILE_PACKAGE]] {
        if let Some(comment) = comments.get(&path[..]).filter(|comment| !comment.is_empty()) {
            let _ = write!(page, "\n{}\n", paragraphs(comment));
        }
    }
    for (number, service) in (0..).zip(&file.service) {
        let _ = write!(page, "\n## {}\n", service.name());
        for (method_number, method) in (0..).zip(&service.method) {
            let comment = comments.get(&[FILE_SERVICES, number, SERVICE_METHODS, method_number][..]);
            let stream = |streams| if streams { "a stream of " } else { "" };
            let _ = write!(
                page,
                "\n### {}\n\n{}\n\nTakes {}{}, returns {}{}.\n",
                method.name(),
                paragraphs(comment.map(String::as_str).unwrap_or_default()),
                stream(method.client_streaming()),
                link(short(method.input_type())),
                stream(method.server_streaming()),
                link(short(method.output_type())),
            );
        }
    }
    for (number, message) in (0..).zip(&file.message_type) {
        if let Some((title, text)) = sections.get(&[FILE_MESSAGES, number][..]) {
            let _ = write!(page, "\n## Messages: {title}\n");
            if !text.is_empty() {
                let _ = write!(page, "\n{text}\n");
            }
        }
        describe_message(&mut page, message, number, &comments);
    }
    page
}

fn describe_message(page: &mut String, message: &DescriptorProto, number: i32, comments: &Comments<'_>) {
    let comment = comments.get(&[FILE_MESSAGES, number][..]).map(String::as_str).unwrap_or_default();
    let _ = write!(page, "\n### {}\n", message.name());
    if !comment.is_empty() {
        let _ = write!(page, "\n{}\n", paragraphs(comment));
    }
    if message.field.is_empty() {
        page.push_str("\nThe message has no fields.\n");
        return;
    }
    page.push_str("\n| field | number | type | |\n|---|---|---|---|\n");
    for (field_number, field) in (0..).zip(&message.field) {
        let comment = comments.get(&[FILE_MESSAGES, number, MESSAGE_FIELDS, field_number][..]);
        let one_of = match field.oneof_index {
            Some(index) if !field.proto3_optional() => {
                let name = usize::try_from(index).ok().and_then(|index| message.oneof_decl.get(index));
                format!("One of `{}`. ", name.map(|one| one.name()).unwrap_or_default())
            }
            _ => String::new(),
        };
        let described = format!("{one_of}{}", comment.map(String::as_str).unwrap_or_default());
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            field.name(),
            field.number(),
            map_of(field, message).unwrap_or_else(|| type_of(field)),
            cell(&described)
        );
    }
}

/// The type of a map, which the descriptor contains as a repeated message.
fn map_of(field: &FieldDescriptorProto, message: &DescriptorProto) -> Option<String> {
    let name = short(field.type_name());
    let is_map = |entry: &DescriptorProto| entry.options.as_ref().is_some_and(|options| options.map_entry());
    let entry = message.nested_type.iter().find(|entry| entry.name() == name && is_map(entry))?;
    let part = |field: &FieldDescriptorProto| type_of(field).replace(['`'], "").replace("optional ", "");
    Some(format!("`map<{}>`", entry.field.iter().map(part).collect::<Vec<_>>().join(", ")))
}

fn type_of(field: &FieldDescriptorProto) -> String {
    let repeated = if field.label() == Label::Repeated { "repeated " } else { "" };
    let optional = if field.proto3_optional() { "optional " } else { "" };
    let name = match field.r#type() {
        Type::Message | Type::Enum => link(short(field.type_name())),
        other => format!("`{}`", format!("{other:?}").to_ascii_lowercase()),
    };
    format!("{repeated}{optional}{name}")
}

/// The last part of `.orders.v1.Order`.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// A comment without the space after each `//`.
fn without_indent(comment: &str) -> String {
    let lines = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// A comment as Markdown: a paragraph whose lines are indented is a block of code.
fn paragraphs(comment: &str) -> String {
    let blocks = comment.split("\n\n").map(|block| match block.starts_with("  ") {
        true => format!("```text\n{block}\n```"),
        false => block.to_owned(),
    });
    blocks.collect::<Vec<_>>().join("\n\n").replace("docs/reference/errors.md", "[Error codes](errors.md)")
}

/// The title and the text of a comment that begins with a title between hyphens.
fn section(comment: &str) -> Option<(String, String)> {
    let (title, text) = comment.split_once('\n').unwrap_or((comment, ""));
    let title = title.strip_prefix("----")?.trim_matches(['-', ' ']);
    Some((title.to_owned(), paragraphs(text.trim())))
}
