//! Traces: spans of sampled requests, exported over OTLP.
//!
//! Whether a trace is recorded is decided once, before its first span ([`request`]). What belongs to no recorded trace
//! creates no span: [`span`] returns `None` and [`current`] finds nothing. Without [`install`] nothing is ever recorded,
//! and each of these functions is one comparison.
//!
//! A context travels inside a request with its future ([`scope`]), and between processes as a
//! [`TraceContext`]: in the row of an order, in messages and in the header `traceparent`.
//!
//! The exporter has a separate thread and a bounded queue. Spans beyond it are dropped, and nothing waits for it.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use domain::TraceContext;
use opentelemetry::trace::{
    FutureExt as _, Link, Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt as _,
    TraceFlags, TraceId, TraceState, TracerProvider as _, WithContext,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use rand::Rng as _;

pub use opentelemetry::Value;
pub use opentelemetry::trace::SpanKind;

/// Maximum number of links of the span of a batch.
pub const MAX_LINKS: usize = 32;

/// The tracer of the process, as the metrics recorder of the process.
static TRACER: OnceLock<Tracer> = OnceLock::new();

struct Tracer {
    tracer: SdkTracer,
    ratio: f64,
}

/// Where traces go, and how many there are.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// The URL of an OTLP receiver over gRPC, such as `http://localhost:4317`.
    pub endpoint: String,
    /// The share of requests without a `traceparent` whose trace is recorded: 0 to 1.
    pub ratio: f64,
    /// The service, unless `OTEL_SERVICE_NAME` names it.
    pub service: &'static str,
}

/// The reason why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be exported to {endpoint}: {problem}")]
pub struct TraceError {
    endpoint: String,
    problem: String,
}

/// The running export.
#[must_use = "shut it down, so that the last spans are exported"]
pub struct TraceExport(SdkTracerProvider);

/// Starts the export of traces, inside the runtime that carries the connection. The other variables of OTLP exporters
/// apply as well, such as `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_BSP_SCHEDULE_DELAY`.
///
/// # Errors
/// The endpoint is not a URL, or traces are exported already.
pub fn install(config: &TraceConfig) -> Result<TraceExport, TraceError> {
    let failed = |problem: String| TraceError { endpoint: config.endpoint.clone(), problem };
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(&config.endpoint).build();
    let exporter = exporter.map_err(|error| failed(error.to_string()))?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none_or(|name| name.is_empty()) {
        resource = resource.with_service_name(config.service);
    }
    let resource = resource
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())));
    // A span is created only for a trace that is recorded, so the provider samples all of them.
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::AlwaysOn)
        .with_max_links_per_span(MAX_LINKS as u32)
        .with_resource(resource.build())
        .build();
    let tracer = Tracer { tracer: provider.tracer("orders"), ratio: config.ratio };
    TRACER.set(tracer).map_err(|_| failed("this process exports traces already".to_owned()))?;
    Ok(TraceExport(provider))
}

impl TraceExport {
    /// Exports what is left, for at most `timeout`. It blocks its thread.
    pub fn shutdown(self, timeout: Duration) {
        if let Err(error) = self.0.shutdown_with_timeout(timeout) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Returns whether this process exports traces.
pub fn is_enabled() -> bool {
    TRACER.get().is_some()
}

/// Returns the present time for [`record`]; `None` without export, which saves reading the clock.
pub fn now() -> Option<SystemTime> {
    TRACER.get().map(|_| SystemTime::now())
}

/// Decides whether the trace of a request is recorded, and begins its span.
///
/// With the context of a caller that is trusted, the decision of that caller counts.
pub fn request(name: impl FnOnce() -> Cow<'static, str>, caller: Option<TraceContext>) -> Option<Span> {
    let Tracer { tracer, ratio } = TRACER.get()?;
    let is_sampled = match caller {
        Some(caller) => caller.is_sampled(),
        None => *ratio > 0.0 && rand::rng().random::<f64>() < *ratio,
    };
    is_sampled.then(|| {
        let builder = SpanBuilder::from_name(name()).with_kind(SpanKind::Server);
        Span::new(builder.start_with_context(tracer, &parent_context(caller)))
    })
}

/// Begins a span in a trace that is recorded. `None` without export or without such a trace.
pub fn span(kind: SpanKind, name: &'static str, parent: Option<TraceContext>) -> Option<Span> {
    let tracer = &TRACER.get()?.tracer;
    let parent = parent.filter(TraceContext::is_sampled)?;
    let builder = SpanBuilder::from_name(name).with_kind(kind);
    Some(Span::new(builder.start_with_context(tracer, &parent_context(Some(parent)))))
}

/// Records a span that began at `began` and ends now, in a trace that is recorded. Returns its context.
pub fn record(
    kind: SpanKind,
    name: impl Into<Cow<'static, str>>,
    parent: TraceContext,
    began: SystemTime,
    attributes: impl IntoIterator<Item = (&'static str, Value)>,
) -> Option<TraceContext> {
    let tracer = &TRACER.get()?.tracer;
    if !parent.is_sampled() {
        return None;
    }
    let mut span = SpanBuilder::from_name(name)
        .with_kind(kind)
        .with_start_time(began)
        .with_attributes(attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)))
        .start_with_context(tracer, &parent_context(Some(parent)));
    let context = trace_context(span.span_context());
    span.end();
    context
}

/// Records the span of a transaction for several requests: a child of the first of them whose trace is recorded, with
/// links to the others, up to [`MAX_LINKS`]. Without such a request there is no span.
pub fn record_batch<const N: usize>(
    name: &'static str,
    began: SystemTime,
    members: impl IntoIterator<Item = TraceContext>,
    attributes: [(&'static str, Value); N],
) {
    let Some(Tracer { tracer, .. }) = TRACER.get() else { return };
    let mut members = members.into_iter().filter(TraceContext::is_sampled);
    let Some(first) = members.next() else { return };
    let mut linked: Vec<TraceContext> = Vec::new();
    for member in members {
        if linked.len() < MAX_LINKS && member != first && !linked.contains(&member) {
            linked.push(member);
        }
    }
    let links = linked.iter().map(|member| Link::with_context(span_context(*member)));
    SpanBuilder::from_name(name)
        .with_kind(SpanKind::Client)
        .with_start_time(began)
        .with_attributes(attributes.map(|(key, value)| KeyValue::new(key, value)))
        .with_links(links.collect())
        .start_with_context(tracer, &parent_context(Some(first)))
        .end();
}

/// Runs a future in a context, which [`current`] returns inside it.
pub fn scope<F: Future>(context: TraceContext, future: F) -> WithContext<F> {
    future.with_context(parent_context(Some(context)))
}

/// Returns the context of the request that runs, if its trace is recorded.
pub fn current() -> Option<TraceContext> {
    TRACER.get()?;
    Context::map_current(|context| {
        if context.has_active_span() { trace_context(context.span().span_context()) } else { None }
    })
}

/// A span of a recorded trace. It ends when it is dropped.
///
/// It is boxed: a request and an attempt have place for one, and most have none.
pub struct Span(Box<opentelemetry_sdk::trace::Span>);

impl Span {
    fn new(span: opentelemetry_sdk::trace::Span) -> Self {
        Self(Box::new(span))
    }

    /// Returns the context for what the span causes.
    pub fn context(&self) -> Option<TraceContext> {
        trace_context(self.0.span_context())
    }

    /// Adds an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    /// Marks the span as failed.
    pub fn fail(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.0.set_status(Status::error(reason));
    }
}

fn parent_context(parent: Option<TraceContext>) -> Context {
    match parent {
        Some(parent) => Context::new().with_remote_span_context(span_context(parent)),
        None => Context::new(),
    }
}

fn span_context(context: TraceContext) -> SpanContext {
    let flags = if context.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (TraceId::from_bytes(context.trace_id()), SpanId::from_bytes(context.span_id()));
    SpanContext::new(trace, span, flags, true, TraceState::default())
}

fn trace_context(context: &SpanContext) -> Option<TraceContext> {
    let (trace, span) = (context.trace_id().to_bytes(), context.span_id().to_bytes());
    TraceContext::new(trace, span, context.is_sampled())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        limits_page::row("links of the span of a batch", &MAX_LINKS.to_string());
    }
}
