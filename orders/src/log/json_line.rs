//! A log line as one JSON object.
//!
//! The ids of the task ([`LogIds`]) and the fields of the spans around a line are members of the object like those of the
//! line itself: a search for an order finds all of its lines. The formatter of `tracing-subscriber` nests
//! them in a list.

use std::fmt;
use std::time::SystemTime;

use serde_json::{Map, Value};
use telemetry::LogIds;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes each line as one object.
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        for span in context.event_scope().into_iter().flat_map(|spans| spans.from_root()) {
            let extensions = span.extensions();
            let Some(formatted) = extensions.get::<FormattedFields<N>>() else { continue };
            if let Ok(Value::Object(of_span)) = serde_json::from_str(&formatted.fields) {
                of_span.into_iter().for_each(|(name, value)| fields.set(name, value));
            }
        }
        if let Some(LogIds { order_id, attempt, worker, trace }) = LogIds::current() {
            fields.set("order_id", order_id.to_string().into());
            fields.set("attempt", attempt.into());
            fields.set("worker", (&*worker).into());
            trace.into_iter().for_each(|trace| fields.set("trace_id", trace.trace_id_text().into()));
        }
        event.record(&mut fields);
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        write!(writer, r#"{{"timestamp":"{time}","level":"{}""#, metadata.level())?;
        for (name, value) in fields.0 {
            write!(writer, ",{}:{value}", Value::String(name))?;
        }
        writeln!(writer, r#","target":{}}}"#, Value::String(metadata.target().to_owned()))
    }
}

/// The members of the object. A later one replaces an earlier one with the same name, so those of the line itself win.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, name: impl Into<String>, value: Value) {
        self.0.insert(name.into(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::fmt::format::JsonFields;

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn line_has_the_fields_of_its_spans() {
        let kept = Kept::default();
        let lines = tracing_subscriber::fmt().with_writer(kept.clone());
        let lines = lines.fmt_fields(JsonFields::new()).event_format(JsonLine).finish();
        tracing::subscriber::with_default(lines, || {
            let outer = tracing::info_span!("request", tenant = "acme", order_id = "1");
            let inner = tracing::info_span!(parent: &outer, "attempt", order_id = "2", attempt = 3_u32);
            inner.in_scope(|| {
                tracing::warn!(worker = "packer \"2\"", absent = None::<&str>, ms = 1.5, "failed")
            });
            tracing::info!("alone");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut first = lines[0].clone();
        assert!(first.as_object_mut().unwrap().remove("timestamp").unwrap().as_str().unwrap().ends_with('Z'));
        let expected = serde_json::json!({
            "level": "WARN", "message": "failed", "tenant": "acme", "order_id": "2", "attempt": 3,
            "worker": "packer \"2\"", "ms": 1.5, "target": module_path!(),
        });
        assert_eq!(first, expected);
        assert_eq!((&lines[1]["message"], &lines[1]["order_id"]), (&"alone".into(), &Value::Null));
        assert_eq!(lines.len(), 2);
    }
}
