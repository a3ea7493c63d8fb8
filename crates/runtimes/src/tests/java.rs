//! A Java function under Amazon's own runtime client.

use super::rig::Setup;

#[tokio::test]
async fn java_serves_events_through_amazons_client() {
    for name in ["java17", "java21", "java25"] {
        let text = "
            import java.util.Map;
            public class Index {
                int calls = 0;
                public Map<String, Object> handle(Map<String, Object> event) {
                    calls++;
                    if (event.containsKey(\"fail\")) throw new IllegalStateException(\"asked to\");
                    return Map.of(\"n\", calls, \"version\", System.getProperty(\"java.specification.version\"));
                }
            }
            ";
        let setup = Setup::new(name, "Index.java", text).handler("Index::handle").change(|unit| unit.settings.memory_mib = 512);
        let Some(function) = setup.start().await else { continue };
        println!("{name}: ready after {:?}", function.started);
        assert_eq!(function.call("{}").await.json()["n"], 1);
        assert_eq!(function.call("{}").await.json()["n"], 2);
        let failed = function.call(r#"{"fail":1}"#).await;
        assert_eq!(failed.json()["errorType"], "java.lang.IllegalStateException");
        assert!(failed.error.is_some());
    }
}
