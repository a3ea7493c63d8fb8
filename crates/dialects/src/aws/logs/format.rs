//! Log records as Lambda writes them: platform lines of the text format (Amazon's runtime interface emulator, `rie/handlers.go`,
//! and the service's own order of fields) and of the JSON format (Lambda Telemetry API reference, "platform.*").

use crate::aws::lambda::runtime_version_arn;
use model::{
    event::Usage,
    log::{Line, LogRecord, Status, Stream},
};
use std::{
    fmt::Write,
    sync::{Arc, OnceLock},
};

/// The region in runtime ARNs: records don't carry it, and there is one per process.
static REGION: OnceLock<Arc<str>> = OnceLock::new();

pub fn set_region(region: &Arc<str>) {
    let _ = REGION.set(region.clone());
}

fn arn(runtime: &str) -> String {
    runtime_version_arn(REGION.get().map_or("us-east-1", |r| r), runtime)
}

const INFALLIBLE: &str = "writing to a String can't fail";

/// One record's text, without a line end; nothing for a record that this stream's format has no line for.
pub fn format(stream: &Stream, record: &LogRecord) -> Option<String> {
    if let Line::Text { text, .. } = &record.line {
        return Some(String::from_utf8_lossy(text).into_owned());
    }
    let mut out = String::with_capacity(192);
    let id = record.id.map(|id| id.0.hyphenated());
    let mut buffer = uuid::Uuid::encode_buffer();
    let id = id.as_ref().map_or("", |id| id.encode_lower(&mut buffer));
    if stream.json {
        json(&mut out, stream, record, id)
    } else {
        plain(&mut out, record, id)
    }
    (!out.is_empty()).then_some(out)
}

fn plain(out: &mut String, record: &LogRecord, id: &str) {
    match &record.line {
        Line::Text { .. } | Line::Opened => Ok(()),
        Line::InitStart { runtime, runtime_name } => {
            write!(out, "INIT_START Runtime Version: {runtime}\tRuntime Version ARN: {}", arn(runtime_name))
        }
        Line::Start { version } => write!(out, "START RequestId: {id} Version: {version}"),
        Line::End => write!(out, "END RequestId: {id}"),
        Line::Report { usage, status } => return report(out, id, usage, status),
        Line::Platform { text } => out.write_str(text),
    }
    .expect(INFALLIBLE);
}

fn ms(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn memory_used_mib(usage: &Usage) -> u64 {
    usage.memory_max_bytes.div_ceil(1024 * 1024)
}

fn report(out: &mut String, id: &str, usage: &Usage, status: &Status) {
    write!(
        out,
        "REPORT RequestId: {id}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t",
        ms(usage.duration),
        usage.billed_ms(),
        usage.memory_mib,
        memory_used_mib(usage)
    )
    .expect(INFALLIBLE);
    if let Some(init) = usage.init {
        write!(out, "Init Duration: {:.2} ms\t", ms(init)).expect(INFALLIBLE);
    }
    match status {
        Status::Success => Ok(()),
        Status::Timeout => out.write_str("Status: timeout"),
        Status::Error(kind) => write!(out, "Status: error\tError Type: {kind}"),
    }
    .expect(INFALLIBLE);
}

/// `2026-01-02T03:04:05.678Z`
pub fn time(at_ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or(0)).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn json(out: &mut String, stream: &Stream, record: &LogRecord, id: &str) {
    let at = time(record.at_ms);
    match &record.line {
        // There is no line of this format for the end; the report follows at once.
        Line::Text { .. } | Line::End | Line::Opened => Ok(()),
        Line::InitStart { runtime, runtime_name } => write!(
            out,
            r#"{{"time":"{at}","type":"platform.initStart","record":{{"initializationType":"on-demand","phase":"init","runtimeVersion":{},"runtimeVersionArn":"{}","functionName":{},"functionVersion":"{}"}}}}"#,
            quoted(runtime),
            arn(runtime_name),
            quoted(stream.function.as_str()),
            stream.version
        ),
        Line::Start { version } => {
            write!(out, r#"{{"time":"{at}","type":"platform.start","record":{{"requestId":"{id}","version":"{version}"}}}}"#)
        }
        Line::Report { usage, status } => {
            let init = usage.init.map(|i| format!(r#","initDurationMs":{:.3}"#, ms(i))).unwrap_or_default();
            let status = match status {
                Status::Success => r#""success""#.to_owned(),
                Status::Timeout => r#""timeout""#.to_owned(),
                Status::Error(kind) => format!(r#""error","errorType":{}"#, quoted(kind)),
            };
            write!(
                out,
                r#"{{"time":"{at}","type":"platform.report","record":{{"requestId":"{id}","metrics":{{"durationMs":{:.3},"billedDurationMs":{},"memorySizeMB":{},"maxMemoryUsedMB":{}{init}}},"status":{status}}}}}"#,
                ms(usage.duration),
                usage.billed_ms(),
                usage.memory_mib,
                memory_used_mib(usage)
            )
        }
        Line::Platform { text } => {
            write!(out, r#"{{"timestamp":"{at}","level":"WARN","message":{},"requestId":"{id}"}}"#, quoted(text))
        }
    }
    .expect(INFALLIBLE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{FunctionName, InstanceId, InvocationId, TenantId};
    use std::time::Duration;

    fn stream(json: bool) -> Stream {
        Stream {
            tenant: TenantId::new("000000000000"),
            function: FunctionName::new("f"),
            group: Arc::from("/aws/lambda/f"),
            name: Arc::from("2026/01/02/[$LATEST]0"),
            version: Arc::from("$LATEST"),
            code: Arc::from("c0de"),
            instance: InstanceId::random(),
            json,
        }
    }

    fn line(json: bool, line: Line) -> String {
        format(&stream(json), &LogRecord { at_ms: 1_767_323_045_678, id: Some(InvocationId(uuid::Uuid::nil())), line })
            .unwrap_or_default()
    }

    fn usage(init: Option<Duration>) -> Usage {
        Usage { duration: Duration::from_micros(1234), init, memory_mib: 128, memory_max_bytes: 30 * 1024 * 1024 - 1 }
    }

    const ID: &str = "00000000-0000-0000-0000-000000000000";

    #[test]
    fn text_lines_are_lambdas() {
        let start = Line::Start { version: Arc::from("$LATEST") };
        assert_eq!(line(false, start), format!("START RequestId: {ID} Version: $LATEST"));
        assert_eq!(line(false, Line::End), format!("END RequestId: {ID}"));
        let report = |init, status| line(false, Line::Report { usage: usage(init), status });
        let head = format!(
            "REPORT RequestId: {ID}\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t"
        );
        assert_eq!(report(None, Status::Success), head);
        assert_eq!(report(Some(Duration::from_millis(100)), Status::Success), format!("{head}Init Duration: 100.00 ms\t"));
        assert_eq!(report(None, Status::Timeout), format!("{head}Status: timeout"));
        let exit = Status::Error(Arc::from("Runtime.ExitError"));
        assert_eq!(report(None, exit), format!("{head}Status: error\tError Type: Runtime.ExitError"));
        let init = Line::InitStart { runtime: Arc::from("python:3.12.v1"), runtime_name: Arc::from("python3.12") };
        assert!(
            line(false, init).starts_with("INIT_START Runtime Version: python:3.12.v1\tRuntime Version ARN: arn:aws:lambda:")
        );
        // User text is user text, whatever it looks like.
        let text = Line::Text { text: bytes::Bytes::from_static(b"END RequestId: x\xff"), level: None };
        assert_eq!(line(false, text), "END RequestId: x\u{fffd}");
    }

    #[test]
    fn json_lines_are_objects() {
        let read = |l| serde_json::from_str::<serde_json::Value>(&line(true, l)).unwrap();
        let report =
            read(Line::Report { usage: usage(Some(Duration::from_millis(5))), status: Status::Error(Arc::from("A\"B")) });
        assert_eq!((&report["type"], &report["time"]), (&"platform.report".into(), &"2026-01-02T03:04:05.678Z".into()));
        assert_eq!(report["record"]["metrics"]["initDurationMs"], 5.0);
        assert_eq!((&report["record"]["status"], &report["record"]["errorType"]), (&"error".into(), &"A\"B".into()));
        assert_eq!(read(Line::Start { version: Arc::from("1") })["record"]["version"], "1");
        assert_eq!(read(Line::Platform { text: Arc::from("x\ny") })["message"], "x\ny");
        assert_eq!(line(true, Line::End), "");
    }
}
