//! Signature Version 4, written for the tests alone, so that the platform's verifier is not judged by its own code.
//! Source: AWS General Reference, "Create a signed AWS API request".

use jiff::Timestamp;
use ring::{digest, hmac};

/// What a client signs with.
#[derive(Clone, Debug)]
pub struct Keys {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
    pub region: String,
}

impl Keys {
    /// The headers that make this request a signed one. `path` is as it is sent (percent-encoded), `query` without its `?`.
    /// Every header given is signed.
    pub fn sign(
        &self,
        service: &str,
        method: &str,
        host: &str,
        (path, query): (&str, &str),
        headers: &[(String, String)],
        body: &[u8],
    ) -> Vec<(String, String)> {
        let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut signed: Vec<(String, String)> =
            headers.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
        signed.push(("host".into(), host.into()));
        signed.push(("x-amz-date".into(), now.clone()));
        signed.extend(self.token.iter().map(|t| ("x-amz-security-token".to_owned(), t.clone())));
        signed.sort();

        let names = signed.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(";");
        let lines: String = signed.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let mut pairs: Vec<String> = query
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|p| if p.contains('=') { p.into() } else { format!("{p}=") })
            .collect();
        pairs.sort();
        let (path, query) = (encoded_again(path), pairs.join("&"));
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{}", Self::hash(body));

        let scope = format!("{}/{}/{service}/aws4_request", &now[..8], self.region);
        let signature = self.signature(&now, &scope, &canonical);
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", self.id);

        signed.retain(|(n, _)| n != "host");
        signed.push(("authorization".into(), authorization));
        signed
    }

    /// The signature of a canonical request, for a scope of `DAY/REGION/SERVICE/aws4_request`.
    pub fn signature(&self, now: &str, scope: &str, canonical: &str) -> String {
        let text = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{}", Self::hash(canonical.as_bytes()));
        let start = format!("AWS4{}", self.secret).into_bytes();
        hex(&scope.split('/').chain([text.as_str()]).fold(start, |key, part| mac(&key, part)))
    }

    /// What stands for a body in a canonical request.
    pub fn hash(bytes: &[u8]) -> String {
        hex(digest::digest(&digest::SHA256, bytes).as_ref())
    }
}

/// Every service but S3 signs the path encoded once more than it is sent.
fn encoded_again(path: &str) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/".contains(&b);
    path.bytes().map(|b| if keep(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
