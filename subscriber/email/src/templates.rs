//! The templates: three files for each type of event, or for all types.
//!
//! `order.completed.subject.txt`, `order.completed.txt` and `order.completed.html` are used for `order.completed`; without
//! them `order.subject.txt`, `order.txt` and `order.html`. HTML is escaped. An unknown name is an error, which the check at
//! start finds with two sample events.

use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use rust_embed::RustEmbed;
use serde::Serialize;
use subscriber::{Event, EventType};

use crate::error::Error;

/// Maximum size of a template.
const MAX_TEMPLATE_BYTES: u64 = 256 * 1024;
/// Maximum length of a subject.
const MAX_SUBJECT: usize = 200;
/// The name of the templates of all types.
const ANY_TYPE: &str = "order";
/// The parts of a mail.
const PARTS: [&str; 3] = ["subject.txt", "txt", "html"];

/// The examples, which are used without a folder.
#[derive(RustEmbed)]
#[folder = "templates"]
struct Examples;

/// Writes the examples into a folder. Existing files are not replaced.
///
/// # Errors
/// [`Error::Write`].
pub fn write_examples(folder: &Path) -> Result<(), Error> {
    let failed = |file: &Path| {
        let file = file.to_owned();
        move |source| Error::Write { file, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for name in Examples::iter() {
        let file = folder.join(&*name);
        let content = Examples::get(&name).map(|file| file.data).unwrap_or_default();
        let written =
            File::create_new(&file).and_then(|mut file| std::io::Write::write_all(&mut file, &content));
        written.map_err(failed(&file))?;
    }
    Ok(())
}

/// The rendered parts of a mail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// The checked templates.
pub(crate) struct Templates {
    environment: Environment<'static>,
}

impl Templates {
    /// Reads the templates of these types, and renders each for sample events.
    pub(crate) fn load(folder: Option<&Path>, types: &[EventType]) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| match name.ends_with(".html") {
            true => AutoEscape::Html,
            false => AutoEscape::None,
        });
        let error = |name: &str, problem: String| Error::Template {
            folder: folder.map_or_else(|| PathBuf::from("the examples"), Path::to_owned),
            name: name.to_owned(),
            problem,
        };
        let kinds = types.iter().map(|kind| kind.as_str());
        for name in kinds.chain([ANY_TYPE]).flat_map(|kind| PARTS.map(|part| format!("{kind}.{part}"))) {
            let source = read(folder, &name).map_err(|problem| error(&name, problem.to_string()))?;
            if let Some(source) = source {
                environment
                    .add_template_owned(name.clone(), source)
                    .map_err(|problem| error(&name, describe(&problem)))?;
            }
        }
        let templates = Self { environment };
        for kind in types {
            for sample in samples(*kind) {
                templates.render_context(*kind, &sample).map_err(|(name, problem)| error(&name, problem))?;
            }
        }
        Ok(templates)
    }

    /// Renders the mail for an event; its order is present. The error has the name of the template.
    pub(crate) fn render(&self, event: &Event) -> Result<Rendered, (String, String)> {
        self.render_context(event.kind, &Context::of(event))
    }

    fn render_context(&self, kind: EventType, context: &Context<'_>) -> Result<Rendered, (String, String)> {
        let context = Value::from(Serde(context));
        let part = |part: &str| {
            let own = format!("{}.{part}", kind.as_str());
            let any = format!("{ANY_TYPE}.{part}");
            let found = self.environment.get_template(&own).or_else(|_| self.environment.get_template(&any));
            let missing = |_| (own, format!("the file is missing, and so is {any}"));
            let template = found.map_err(missing)?;
            template.render(&context).map_err(|error| (template.name().to_owned(), describe(&error)))
        };
        let [subject, text, html] = PARTS.map(part);
        Ok(Rendered { subject: one_line(&subject?), text: text?, html: html? })
    }
}

/// Returns the subject without line breaks, which would be further headers, and other control characters.
fn one_line(subject: &str) -> String {
    let words = subject.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_SUBJECT).collect()
}

/// Reads a template. `None` if it does not exist.
fn read(folder: Option<&Path>, name: &str) -> std::io::Result<Option<String>> {
    let Some(folder) = folder else {
        let example = Examples::get(name).map(|file| file.data);
        return Ok(example.map(|data| String::from_utf8_lossy(&data).into_owned()));
    };
    let file = match File::open(folder.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut source = String::new();
    if file.take(MAX_TEMPLATE_BYTES + 1).read_to_string(&mut source)? as u64 > MAX_TEMPLATE_BYTES {
        return Err(std::io::Error::other(format!("it is larger than {MAX_TEMPLATE_BYTES} bytes")));
    }
    Ok(Some(source))
}

/// Formats an error with its line.
fn describe(error: &minijinja::Error) -> String {
    match error.line() {
        Some(line) => format!("line {line}: {}", connection::format_causes(error)),
        None => connection::format_causes(error),
    }
}

/// What a template can use. Amounts are exact strings.
#[derive(Serialize)]
struct Context<'a> {
    id: Cow<'a, str>,
    r#type: &'static str,
    timestamp: String,
    order_id: String,
    sequence: u32,
    status: &'static str,
    previous_status: Option<&'static str>,
    attempt: u32,
    reason: Option<&'a str>,
    error_class: Option<&'a str>,
    order: Order<'a>,
}

#[derive(Default, Serialize)]
struct Order<'a> {
    customer: Option<&'a str>,
    external_reference: Option<&'a str>,
    line_items: Vec<Line<'a>>,
    total: String,
    currency: String,
    created_at: String,
}

#[derive(Serialize)]
struct Line<'a> {
    item: &'a str,
    quantity: u32,
    price: String,
}

impl<'a> Context<'a> {
    fn of(event: &'a Event) -> Self {
        let order = event.order.as_ref().map(|order| Order {
            customer: order.customer.as_deref(),
            external_reference: order.external_reference.as_deref(),
            line_items: order
                .line_items
                .iter()
                .map(|line| Line { item: &line.item, quantity: line.quantity, price: line.price.to_string() })
                .collect(),
            total: order.total.to_string(),
            currency: order.total.currency().code().to_owned(),
            created_at: order.created_at.to_string(),
        });
        Self {
            id: Cow::Borrowed(&event.id),
            r#type: event.kind.as_str(),
            timestamp: event.timestamp.to_string(),
            order_id: event.order_id.to_string(),
            sequence: event.sequence,
            status: event.status.as_str(),
            previous_status: event.previous_status.map(subscriber::Status::as_str),
            attempt: event.attempt,
            reason: event.reason.as_deref(),
            error_class: event.error_class.as_deref(),
            order: order.unwrap_or_default(),
        }
    }
}

/// Returns an event with every optional value, and one without.
fn samples(kind: EventType) -> [Context<'static>; 2] {
    let time = || "2026-01-31T12:00:00.000000Z".to_owned();
    let sample = |is_full: bool| {
        let optional = |value: &'static str| Some(value).filter(|_| is_full);
        Context {
            id: Cow::Borrowed("01890a5d-ac96-774b-bcce-b302099a8057-3"),
            r#type: kind.as_str(),
            timestamp: time(),
            order_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
            sequence: 3,
            status: "completed",
            previous_status: optional("processing"),
            attempt: 1,
            reason: optional("the card was declined"),
            error_class: optional("card_declined"),
            order: Order {
                customer: optional("ann@example.com"),
                external_reference: optional("1001"),
                line_items: vec![Line { item: "Laptop", quantity: 2, price: "1299.99".to_owned() }],
                total: "2599.98".to_owned(),
                currency: "USD".to_owned(),
                created_at: time(),
            },
        }
    };
    [sample(true), sample(false)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(folder: &Path) -> Result<Rendered, String> {
        let templates = Templates::load(Some(folder), &[EventType::Completed]);
        let templates = templates.map_err(|error| error.to_string())?;
        let [mut sample, _] = samples(EventType::Completed);
        sample.order.external_reference = Some("<b>\r\nBcc: eve@example.com");
        Ok(templates.render_context(EventType::Completed, &sample).unwrap())
    }

    #[test]
    fn examples_are_valid_for_every_type() {
        Templates::load(None, &EventType::ALL).unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_examples(folder.path()).unwrap();
        Templates::load(Some(folder.path()), &EventType::ALL).unwrap();
        // What a user has changed is kept.
        assert!(write_examples(folder.path()).unwrap_err().to_string().contains("exists"));
    }

    #[test]
    fn html_is_escaped_and_a_subject_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        for part in PARTS {
            std::fs::write(folder.path().join(format!("order.{part}")), "x {{ order.external_reference }}")
                .unwrap();
        }
        let mail = rendered(folder.path()).unwrap();
        assert_eq!(mail.subject, "x <b> Bcc: eve@example.com");
        assert_eq!(mail.text, "x <b>\r\nBcc: eve@example.com");
        assert_eq!(mail.html, "x &lt;b&gt;\r\nBcc: eve@example.com");
        // A template of the type takes precedence.
        std::fs::write(folder.path().join("order.completed.txt"), "y").unwrap();
        assert_eq!(rendered(folder.path()).unwrap().text, "y");
        std::fs::write(folder.path().join("order.completed.subject.txt"), "x".repeat(300)).unwrap();
        assert_eq!(rendered(folder.path()).unwrap().subject.len(), MAX_SUBJECT);
    }

    #[test]
    fn defective_templates_are_found_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, source: &str| std::fs::write(folder.path().join(name), source).unwrap();
        assert!(rendered(folder.path()).unwrap_err().contains("order.completed.subject.txt"));
        write_examples(folder.path()).unwrap();
        for (source, problem) in [("{{ order.totl }}", "line 1"), ("a\n{% if %}", "line 2")] {
            write("order.completed.html", source);
            let error = rendered(folder.path()).unwrap_err();
            assert!(error.contains("order.completed.html") && error.contains(problem), "{error}");
        }
        write("order.completed.html", &"x".repeat(MAX_TEMPLATE_BYTES as usize + 1));
        assert!(rendered(folder.path()).unwrap_err().contains("larger"));
        limits_page::row(
            "template of an e-mail; its subject; fixed recipients",
            &format!(
                "{}; {MAX_SUBJECT} characters; {}",
                limits_page::bytes(MAX_TEMPLATE_BYTES as usize),
                crate::MAX_STAFF
            ),
        );
    }
}
