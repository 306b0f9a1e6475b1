//! Sends the spans of tasks to a collector, as OTLP over HTTP. Off unless an address is set.
//!
//! tracing-opentelemetry was weighed: it exports the spans that the program has open. Ours last longer than the process, so
//! their ids follow from the task, and they are built when they are over. A queue of bounded length and a thread of its own
//! stand between the work and the collector: one that is gone costs spans, and nothing else.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use async_trait::async_trait;
use cloud_code_forge::Scrubber;
use cloud_code_metrics::{Over, Span, Tracer};
use cloud_code_model::TelemetrySettings;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor};
use sha2::{Digest, Sha256};

use crate::http::http_agent;

/// How long a collector may take. It costs the queue's thread and nobody else.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long the end of the program waits for the last spans.
const LAST_WITHIN: Duration = Duration::from_secs(3);
/// Largest answer that is read; a collector says a few words.
const MAX_ANSWER: u64 = 64 * 1024;
/// Where traces go, below a collector's address (OTLP's specification).
const TRACES: &str = "v1/traces";
/// Name of what sends them, unless `OTEL_SERVICE_NAME` says another.
const SERVICE: &str = "cloud-code";

/// Where an operator's other programs say that a collector is.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// What may hold a collector's key.
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];

/// The way to the collector. Dropped without [`Export::end`], what still waits is lost.
pub(crate) struct Export {
    processor: &'static BatchSpanProcessor,
}

/// Starts sending, if it is asked for.
pub(crate) fn start(
    settings: &TelemetrySettings,
    variable: impl Fn(&str) -> Option<String>,
    scrubber: &Scrubber,
    instance: &str,
) -> Result<Option<Export>> {
    let is_on = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    let endpoint = settings.otlp_endpoint.as_deref();
    if is_off || (endpoint.is_none() && !ENDPOINTS.iter().any(|name| is_on(name))) {
        return Ok(None);
    }
    for value in HEADERS.iter().filter_map(|name| variable(name)).filter(|value| !value.is_empty()) {
        for pair in value.split(',') {
            let secret = pair.split_once('=').map_or(pair, |(_, secret)| secret).trim();
            scrubber.keep(secret.to_owned().into());
        }
    }
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(Client(http_agent(ANSWER_WITHIN)));
    if let Some(endpoint) = endpoint {
        exporter = exporter.with_endpoint(format!("{}/{TRACES}", endpoint.trim_end_matches('/')));
    }
    let exporter = exporter
        .build()
        .context("traces cannot be sent\n  hint: `telemetry.otlp_endpoint` is an address such as http://localhost:4318")?;
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    let mut resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()));
    if !is_on("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(SERVICE);
    }
    processor.set_resource(&resource.build());
    // It lasts as long as the process: whoever traces is found from everywhere.
    let processor: &'static BatchSpanProcessor = Box::leak(Box::new(processor));
    cloud_code_metrics::trace_with(Box::new(Sender {
        processor,
        scrubber: scrubber.clone(),
        next: AtomicU64::new(RandomState::new().hash_one(SystemTime::now())),
    }));
    Ok(Some(Export { processor }))
}

impl Export {
    /// Sends what still waits, within a short time.
    pub(crate) async fn end(self) {
        let processor = self.processor;
        let ended = tokio::task::spawn_blocking(move || processor.shutdown_with_timeout(LAST_WITHIN));
        match tokio::time::timeout(LAST_WITHIN, ended).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::debug!(error = %error, "the last spans could not be sent"),
            Ok(Err(_)) | Err(_) => tracing::debug!("the last spans could not be sent in time"),
        }
    }
}

struct Sender {
    processor: &'static BatchSpanProcessor,
    scrubber: Scrubber,
    /// Ids of steps, which nothing refers to.
    next: AtomicU64,
}

impl Tracer for Sender {
    fn over(&self, over: &Over<'_>) {
        let ids = Ids::of(over.task, over.attempt);
        let (name, id, parent) = match over.span {
            Span::Attempt => ("attempt".to_owned(), ids.root(), SpanId::INVALID),
            Span::Phase(phase) => (phase.to_owned(), ids.phase(phase), ids.root()),
            Span::Step { phase, name } => {
                let id = self.next.fetch_add(1, Ordering::Relaxed).max(1);
                let parent = phase.map_or_else(|| ids.root(), |phase| ids.phase(phase));
                (name.to_owned(), SpanId::from_bytes(id.to_be_bytes()), parent)
            }
        };
        let mut attributes = vec![
            KeyValue::new("task.id", over.task.to_owned()),
            KeyValue::new("project", over.project.to_owned()),
            KeyValue::new("cli", over.cli.to_owned()),
            KeyValue::new("attempt", i64::from(over.attempt)),
        ];
        attributes.extend(over.result.map(|result| KeyValue::new("result", result.to_owned())));
        let status = match over.error {
            Some(error) => Status::error(Cow::Owned(self.scrubber.scrub(error).into_owned())),
            None => Status::Unset,
        };
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(ids.trace(), id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: over.from,
            end_time: over.to.max(over.from),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::builder(SERVICE).build(),
        });
    }
}

/// The ids of an attempt, the same in every process.
struct Ids<'a> {
    task: &'a str,
    attempt: u32,
}

impl<'a> Ids<'a> {
    const fn of(task: &'a str, attempt: u32) -> Self {
        Self { task, attempt }
    }

    fn hashed<const N: usize>(&self, what: &str) -> [u8; N] {
        let hash = Sha256::digest(format!("cloud-code {what} {} {}", self.task, self.attempt));
        let mut bytes = [0; N];
        for (to, from) in bytes.iter_mut().zip(hash.iter()) {
            *to = *from;
        }
        bytes
    }

    fn trace(&self) -> TraceId {
        TraceId::from_bytes(self.hashed("trace"))
    }

    fn root(&self) -> SpanId {
        SpanId::from_bytes(self.hashed("attempt"))
    }

    fn phase(&self, phase: &str) -> SpanId {
        SpanId::from_bytes(self.hashed(phase))
    }
}

/// The program's own client: rustls, and what the machine trusts.
#[derive(Debug)]
struct Client(ureq::Agent);

#[async_trait]
impl HttpClient for Client {
    // Called on the queue's own thread, where nothing else waits.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let answer = self.0.run(ureq::http::Request::from_parts(head, body.to_vec()))?;
        let (head, mut body) = answer.into_parts();
        let read = body.with_config().limit(MAX_ANSWER).read_to_vec()?;
        Ok(Response::from_parts(head, Bytes::from(read)))
    }
}
