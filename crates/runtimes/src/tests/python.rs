//! Python functions, as AWS Lambda's would behave.

use super::rig::{Setup, runtime};

const VERSIONS: [&str; 6] = ["python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"];

fn code(text: &str) -> Setup {
    Setup::new("python3.12", "index.py", text)
}

#[tokio::test]
async fn every_python_serves_events_one_after_another() {
    let mut served = 0;
    for name in VERSIONS {
        let text = "
            import sys
            calls = []
            def handler(event, context):
                calls.append(event)
                return {'n': len(calls), 'event': event, 'version': '%d.%d' % sys.version_info[:2]}
            ";
        let Some(function) = Setup::new(name, "index.py", text).start().await else { continue };
        println!("{name}: {} ready after {:?}", runtime(name).unwrap().found, function.started);
        for n in 1..=3 {
            let answer = function.call(r#"{"grüße": "🙂"}"#).await.json();
            assert_eq!(answer["n"], n);
            assert_eq!(answer["event"]["grüße"], "🙂");
            assert_eq!(format!("python{}", answer["version"].as_str().unwrap()), name);
        }
        served += 1;
    }
    assert!(served > 0, "no Python on this machine");
}
