//! A log line for people: the line of `tracing-subscriber`, and the ids of the task at its end.

use std::fmt;

use telemetry::LogIds;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Writes each line with the ids of its task.
pub(super) struct TextLine(Format);

impl TextLine {
    pub(super) fn new(colored: bool) -> Self {
        Self(Format::default().with_ansi(colored))
    }
}

impl<S, N> FormatEvent<S, N> for TextLine
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
        let Some(LogIds { order_id, attempt, worker, trace }) = LogIds::current() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        write!(writer, "{}", line.trim_end_matches('\n'))?;
        // The line can state some of them itself.
        let states = |name| event.metadata().fields().field(name).is_some();
        if !states("order_id") {
            write!(writer, " order_id={order_id}")?;
        }
        if !states("attempt") {
            write!(writer, " attempt={attempt}")?;
        }
        if !states("worker") {
            write!(writer, " worker={worker}")?;
        }
        if let Some(trace) = trace {
            write!(writer, " trace_id={}", trace.trace_id_text())?;
        }
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn line_ends_with_the_ids_of_its_task() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt()
            .with_writer(move || Kept(writer.clone()))
            .with_ansi(false)
            .event_format(TextLine::new(false))
            .finish();
        let _guard = tracing::subscriber::set_default(lines);
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let ids =
            LogIds { order_id: id.parse().unwrap(), attempt: 1, worker: "packer-1".into(), trace: None };
        ids.scope(async { tracing::warn!(attempt = 7, "no stock") }).await;
        tracing::warn!("alone");
        let text = String::from_utf8(kept.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let end = format!("no stock attempt=7 order_id={id} worker=packer-1");
        assert!(lines[0].ends_with(&end), "{text}");
        assert!(lines[1].ends_with("alone") && lines.len() == 2, "{text}");
    }
}
