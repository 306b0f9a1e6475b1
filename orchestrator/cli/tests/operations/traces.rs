//! Traces of tasks, as a collector gets them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use cloud_code_model::TaskState;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::stage::{Setup, Stage};

/// A collector that takes OTLP over HTTP and keeps what it got.
struct Collector {
    address: String,
    got: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<ExportTraceServiceRequest>>> = Arc::default();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (keep, keep_heads) = (got.clone(), heads.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some((head, body)) = request(&mut stream) else { continue };
                keep_heads.lock().unwrap().push(head);
                keep.lock().unwrap().push(ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
                // Whoever sent it may end as soon as it has this, and is asked about then.
                stream.write_all(ANSWER.as_bytes()).unwrap();
            }
        });
        Self { address, got, heads }
    }

    fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap();
        let scopes =
            got.iter().flat_map(|request| &request.resource_spans).flat_map(|spans| &spans.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

/// There is nothing to say.
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// One request.
fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let mut piece = [0; 8192];
    loop {
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&piece[..count]);
        let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap().trim().parse().unwrap();
        if read.len() < end + 4 + length {
            continue;
        }
        return Some((head, read[end + 4..end + 4 + length].to_vec()));
    }
}

#[test]
fn an_attempt_is_one_trace_also_over_a_restart() {
    let collector = Collector::start();
    let mut stage = Stage::set(Setup::default());
    let telemetry = format!("telemetry: {{otlp_endpoint: '{}'}}\nserver: {{", collector.address);
    stage.replaces("cloud-code.yaml", "server: {", &telemetry);
    stage.serves();
    let issue = stage.is_asked("Counting is broken. WAIT-FOR-GO");
    stage.prompt(1);
    // The CLI may be at work before its task says so.
    stage.wait_for("the task to run", || {
        matches!(stage.tasks()[0].state, TaskState::Running { .. }).then_some(())
    });
    // What waits in the queue is sent at a stop in good order.
    stage.stops();
    let before = collector.spans();
    assert!(before.iter().any(|span| span.name == "preparing"), "{before:#?}");
    stage.serves();
    stage.go();
    stage.becomes(issue, "in-review");
    stage.stops();

    let spans = collector.spans();
    let traces: BTreeSet<Vec<u8>> = spans.iter().map(|span| span.trace_id.clone()).collect();
    assert_eq!(traces.len(), 1, "{spans:#?}");
    let ids: BTreeMap<&[u8], &str> =
        spans.iter().map(|span| (span.span_id.as_slice(), span.name.as_str())).collect();
    assert_eq!(ids.len(), spans.len(), "no span is sent twice: {spans:#?}");
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    assert_eq!(roots.iter().map(|root| root.name.as_str()).collect::<Vec<_>>(), ["attempt"]);
    let mut tree = BTreeSet::new();
    for span in &spans {
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:#?}");
        assert!(roots[0].start_time_unix_nano <= span.start_time_unix_nano, "{span:#?}");
        if !span.parent_span_id.is_empty() {
            let parent = ids.get(span.parent_span_id.as_slice());
            tree.insert((*parent.unwrap_or_else(|| panic!("an orphan: {span:#?}")), span.name.as_str()));
        }
    }
    for phase in ["queued", "preparing", "running", "importing", "publishing"] {
        assert!(tree.contains(&("attempt", phase)), "{phase} in {tree:#?}");
    }
    for step in [("preparing", "create_container"), ("importing", "import"), ("publishing", "publish")] {
        assert!(tree.contains(&step), "{step:?} in {tree:#?}");
    }
    let task = stage.tasks()[0].task.id.as_str().to_owned();
    let text = format!("{spans:?}");
    assert!(text.contains(&task) && !text.contains("Count once more"), "{text}");
    let heads = collector.heads.lock().unwrap();
    assert!(heads.iter().all(|head| head.starts_with("post /v1/traces ")), "{heads:#?}");
    stage.holds();
}

#[test]
fn a_collector_that_is_gone_holds_up_no_work_and_no_end() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut stage = Stage::set(Setup::default());
    let telemetry = format!("telemetry: {{otlp_endpoint: 'http://{gone}'}}\nserver: {{");
    stage.replaces("cloud-code.yaml", "server: {", &telemetry);
    stage.serves();
    let issue = stage.is_asked("Counting is broken.");
    stage.becomes(issue, "in-review");
    stage.stops();
    stage.holds();
}
