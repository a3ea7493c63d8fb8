//! Ways around a signature. Each is signed as a client that knows the key would sign it, so that nothing but the rule itself
//! stands in its way; and each begins from a request that is served.

use jiff::Timestamp;
use myna_tests::{Http, Keys, Platform, Response, Result, Test, Wire, ensure, json, tests};

pub const ALL: &[Test] = tests![
    presigned_requests_say_one_thing_only,
    headers_that_decide_must_be_signed,
    a_body_is_the_one_that_was_signed_and_chunks_are_not_taken_on_trust,
    what_is_dispatched_is_the_path_that_was_signed,
];

const LIST: &str = "/2015-03-31/functions/";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A request as a hostile signer makes it: every part can be said otherwise than the rules want.
struct Signing<'a> {
    keys: Keys,
    service: &'a str,
    method: &'a str,
    path: &'a str,
    query: Vec<(String, String)>,
    /// Besides Host and the date; all are signed.
    headers: Vec<(String, String)>,
    /// Left out of what is signed.
    unsigned: Vec<&'a str>,
    /// What stands for the body in the signature; its own hash otherwise.
    payload: Option<&'a str>,
    body: &'a [u8],
    now: String,
    host: String,
}

impl<'a> Signing<'a> {
    fn new(myna: &Platform, method: &'a str, path: &'a str, body: &'a [u8]) -> Self {
        Self {
            keys: myna.keys(),
            service: "lambda",
            method,
            path,
            query: Vec::new(),
            headers: Vec::new(),
            unsigned: Vec::new(),
            payload: None,
            body,
            now: Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string(),
            host: myna.ready().aws.trim_start_matches("http://").to_owned(),
        }
    }

    fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", &self.now[..8], self.keys.region, self.service)
    }

    /// The names that are signed, the query as it is signed, and the signature.
    fn signature(&self, query: &[(String, String)]) -> (String, String, String) {
        let mut headers = self.headers.clone();
        headers.push(("host".into(), self.host.clone()));
        headers.retain(|(n, _)| !self.unsigned.contains(&n.as_str()));
        headers.sort();
        let names = headers.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let mut pairs: Vec<String> = query.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
        pairs.sort();
        let query = pairs.join("&");
        let payload = self.payload.map_or_else(|| Keys::hash(self.body), str::to_owned);
        let path: String = self.path.split('/').map(encode).collect::<Vec<_>>().join("/");
        let canonical = format!("{}\n{path}\n{query}\n{lines}\n{names}\n{payload}", self.method);
        let signature = self.keys.signature(&self.now, &self.scope(), &canonical);
        (names, query, signature)
    }

    /// Signed in its headers.
    fn by_header(mut self) -> Request {
        self.headers.push(("x-amz-date".into(), self.now.clone()));
        let (names, query, signature) = self.signature(&self.query);
        let credential = format!("{}/{}", self.keys.id, self.scope());
        let line = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}");
        self.headers.push(("authorization".into(), line));
        Request {
            method: self.method.into(),
            host: self.host,
            path: self.path.into(),
            query,
            headers: self.headers,
            body: self.body.into(),
        }
    }

    /// Signed in its query string, to be used for so many seconds.
    fn by_query(self, expires: &str) -> Request {
        let (names, ..) = self.signature(&[]);
        let mut query = self.query.clone();
        query.extend(
            [
                ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
                ("X-Amz-Credential", &format!("{}/{}", self.keys.id, self.scope())),
                ("X-Amz-Date", &self.now),
                ("X-Amz-Expires", expires),
                ("X-Amz-SignedHeaders", &names),
            ]
            .map(|(n, v)| (n.to_owned(), v.to_owned())),
        );
        let (_, text, signature) = self.signature(&query);
        let query = format!("{text}&X-Amz-Signature={signature}");
        Request {
            method: self.method.into(),
            host: self.host,
            path: self.path.into(),
            query,
            headers: self.headers,
            body: self.body.into(),
        }
    }
}

fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// What goes over the wire.
#[derive(Clone)]
struct Request {
    method: String,
    host: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn but(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    fn send(&self) -> Result<Response> {
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let url = format!("http://{}{}{query}", self.host, self.path);
        Http::default().send(&self.method, &url, &self.headers, &self.body)
    }

    fn served(&self, what: &str) -> Result<Response> {
        let got = self.send()?;
        ensure!(got.status == 200, "{what} was answered {}: {}", got.status, got.text());
        Ok(got)
    }

    /// One of the refusals of AWS's front ends, and no word of what was asked for.
    fn refused(&self, what: &str, codes: &[&str]) -> Result<()> {
        let got = self.send()?;
        // Where a target is named, the answer is in the form of the services that have targets.
        let named = got.json()?["__type"].as_str().map(str::to_owned);
        let code = got.header("x-amzn-errortype").map(str::to_owned).or(named).unwrap_or_default();
        let status = if code == "IncompleteSignatureException" { 400 } else { 403 };
        ensure!(
            got.status == status && codes.contains(&code.as_str()),
            "{what} was answered {} {code}: {}",
            got.status,
            got.text()
        );
        ensure!(!got.text().contains("Functions"), "{what} was answered with {}", got.text());
        Ok(())
    }
}

const INCOMPLETE: &[&str] = &["IncompleteSignatureException"];
const INVALID: &[&str] = &["InvalidSignatureException"];

// H76
fn presigned_requests_say_one_thing_only() -> Result<()> {
    let myna = Platform::start()?;
    let list = || Signing::new(&myna, "GET", LIST, b"");
    let good = list().by_query("60");
    good.served("a presigned request")?;
    list().by_query("604800").served("one for a week")?;
    for expires in ["604801", "0", "-1", "+60", "60.0", "", "99999999999999999999", "6e2"] {
        list().by_query(expires).refused(&format!("to be used for {expires:?} seconds"), INCOMPLETE)?;
    }
    list().but(|s| s.now = "20200101T000000Z".into()).by_query("604800").refused("one of long ago", INVALID)?;
    list().but(|s| s.now = "20990101T000000Z".into()).by_query("604800").refused("one of the future", INVALID)?;

    let header = list().by_header();
    let authorization = header.headers.last().cloned().into_iter();
    good.but(|r| r.headers.extend(authorization)).refused("signed in both places", INCOMPLETE)?;
    header.but(|r| r.query = good.query.clone()).refused("signed in both places, the other way round", INCOMPLETE)?;

    for name in ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"] {
        let pair = good.query.split('&').find(|p| p.starts_with(&format!("X-Amz-{name}="))).unwrap_or_default().to_owned();
        good.but(|r| r.query += &format!("&{pair}")).refused(&format!("{name} twice, alike"), INCOMPLETE)?;
        good.but(|r| r.query += &format!("&X-Amz-{name}=60")).refused(&format!("{name} twice, unlike"), INCOMPLETE)?;
        good.but(|r| r.query = format!("X-Amz-{name}=60&{}", r.query))
            .refused(&format!("{name} twice, the other first"), INCOMPLETE)?;
        good.but(|r| r.query += &format!("&x-amz-{}=60", name.to_lowercase()))
            .refused(&format!("{name} in lower case too"), INCOMPLETE)?;
        good.but(|r| r.query += &format!("&X%2DAmz-{name}=60")).refused(&format!("{name} escaped too"), INCOMPLETE)?;
        good.but(|r| r.query = r.query.replacen(&pair, "", 1).replace("&&", "&"))
            .refused(&format!("without {name}"), &["IncompleteSignatureException", "MissingAuthenticationTokenException"])?;
    }
    good.but(|r| r.query += "&MaxItems=1").refused("a parameter more", INVALID)?;
    good.but(|r| r.method = "DELETE".into()).refused("another method", INVALID)?;
    good.but(|r| r.path = "/2015-03-31/functions/other".into()).refused("another path", INVALID)?;
    good.but(|r| r.query = r.query.replace("Expires=60", "Expires=600")).refused("longer afterwards", INVALID)?;
    good.but(|r| (r.method, r.body) = ("POST".into(), b"{}".to_vec())).refused("a body put in", INVALID)?;
    list().but(|s| s.payload = Some(UNSIGNED)).by_query("60").refused("a body that may be any", INVALID)?;
    Ok(())
}

// H76
fn headers_that_decide_must_be_signed() -> Result<()> {
    let myna = Platform::start()?;
    let list = || Signing::new(&myna, "GET", LIST, b"");
    let good = list().by_header();
    good.served("a signed request")?;
    let named = ("x-amz-invocation-type".to_owned(), "DryRun".to_owned());
    list().but(|s| s.headers.push(named.clone())).by_header().served("with a header of AWS's that is signed")?;
    for (what, request) in [("signed", good.clone()), ("presigned", list().by_query("60"))] {
        request.but(|r| r.headers.push(named.clone())).refused(&format!("{what}: an x-amz header put in"), INCOMPLETE)?;
        let token = ("x-amz-security-token".to_owned(), "t".to_owned());
        let codes = ["IncompleteSignatureException", "UnrecognizedClientException"];
        request.but(|r| r.headers.push(token)).refused(&format!("{what}: a token put in"), &codes)?;
        let target = ("x-amz-target".to_owned(), "Logs_20140328.DescribeLogGroups".to_owned());
        request.but(|r| r.headers.push(target)).refused(&format!("{what}: a target put in"), INCOMPLETE)?;
    }
    list().but(|s| s.unsigned.push("host")).by_header().refused("Host not signed", INCOMPLETE)?;
    list().but(|s| s.unsigned.push("host")).by_query("60").refused("nothing signed", INCOMPLETE)?;
    list().but(|s| s.unsigned.push("x-amz-date")).by_header().refused("the date not signed", INCOMPLETE)?;
    list()
        .but(|s| s.host = "lambda.us-east-1.amazonaws.com".into())
        .by_header()
        .but(|r| r.host = good.host.clone())
        .refused("signed for another host", INVALID)?;

    for service in ["logs", "iam", "sts", "s3", "execute-api"] {
        let got = list().but(|s| s.service = service).by_header().send()?;
        ensure!(got.status >= 400 && !got.text().contains("Functions"), "{service}'s scope lists functions: {}", got.text());
    }
    list().but(|s| s.service = "lambda-url").by_header().refused("a service of the platform's own", INVALID)?;
    list().but(|s| s.keys.region = "eu-west-1".into()).by_header().refused("another region", INVALID)?;
    list().but(|s| s.keys.region = "eu-west-1".into()).by_query("60").refused("another region, presigned", INVALID)?;
    let edit = |from: &str, to: &str| {
        good.but(|r| {
            let line = r.headers.last_mut().expect("it is signed");
            line.1 = line.1.replace(from, to);
        })
    };
    edit("aws4_request", "aws4_requests").refused("another end of the scope", INCOMPLETE)?;
    edit("SignedHeaders=host;", "SignedHeaders=host;host;").refused("a header signed twice", INCOMPLETE)?;
    edit("host;x-amz-date", "x-amz-date;host").refused("headers out of order", INCOMPLETE)?;
    edit("host;x-amz-date", "Host;x-amz-date").refused("a header in capitals", INCOMPLETE)?;
    edit("Credential=", "Credential=x, Credential=").refused("two credentials", INCOMPLETE)?;
    edit("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256").refused("another algorithm", INCOMPLETE)?;
    let twice = good.headers.last().cloned();
    good.but(|r| r.headers.extend(twice)).refused("two Authorization headers", INCOMPLETE)
}

// H76
fn a_body_is_the_one_that_was_signed_and_chunks_are_not_taken_on_trust() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("f", "def handler(event, context): return event\n")?;
    let path = "/2015-03-31/functions/f/invocations";
    let invoke = |body: &'static [u8]| Signing::new(&myna, "POST", path, body);
    let declared = |s: &mut Signing<'_>, what: &str| s.headers.push(("x-amz-content-sha256".into(), what.to_owned()));
    ensure!(invoke(b"[1]").by_header().served("a call")?.body == b"[1]");
    let own = Keys::hash(b"[1]");
    invoke(b"[1]").but(|s| declared(s, &own)).by_header().served("one that says its hash")?;
    invoke(b"[1]").by_header().but(|r| r.body = b"[2]".to_vec()).refused("another body", INVALID)?;
    let other = Keys::hash(b"[2]");
    invoke(b"[1]")
        .but(|s| (declared(s, &other), s.payload = Some(&other)).1)
        .by_header()
        .refused("another body's hash", INVALID)?;
    let streaming = [
        UNSIGNED,
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        "",
        "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
    ];
    for what in streaming {
        let chunks = b"3;chunk-signature=0000000000000000000000000000000000000000000000000000000000000000\r\n[1]\r\n\
                       0;chunk-signature=0000000000000000000000000000000000000000000000000000000000000000\r\nx-amz-trailer-signature:00\r\n\r\n";
        for body in [&b"[1]"[..], chunks] {
            let request = Signing::new(&myna, "POST", path, body).but(|s| (declared(s, what), s.payload = Some(what)).1);
            request.by_header().refused(&format!("a payload of {what:?}"), INVALID)?;
        }
    }
    // HTTP's own chunks are no matter of signatures, and a trailer of theirs is no header.
    let signed = invoke(b"[1]").by_header();
    let mut head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\n", signed.host);
    signed.headers.iter().for_each(|(n, v)| head += &format!("{n}: {v}\r\n"));
    let mut wire = Wire::open(&myna.ready().aws)?;
    let body = "2\r\n[1\r\n1\r\n]\r\n0\r\nx-amz-invocation-type: DryRun\r\nAuthorization: none\r\n\r\n";
    wire.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n{body}").as_bytes())?;
    let answer = wire.answer()?;
    ensure!(answer.as_ref().is_some_and(|a| a.status == 200 && a.body == b"[1]"), "{answer:?}");
    ensure!(f.call(json!(3))? == 3);
    Ok(())
}

// H76
fn what_is_dispatched_is_the_path_that_was_signed() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("f", "def handler(event, context): return event\n")?;
    // A name in full is sent escaped, and signed as it is sent.
    let path =
        format!("/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A{}%3Afunction%3Af/configuration", myna.ready().account);
    let full = Signing::new(&myna, "GET", &path, b"").by_header();
    full.served("a name in full")?;
    full.but(|r| r.path = path.replace("%3A", ":")).refused("the same, unescaped on the way", INVALID)?;
    full.but(|r| r.path = path.replace("%3A", "%3a")).refused("the same in small letters", INVALID)?;
    // Signed as a harmless path, sent as another that a decoder would take for it.
    let get = |path: &str| Signing::new(&myna, "GET", path, b"").by_header();
    for (signed, sent) in [
        ("/2015-03-31/functions/f", "/2015-03-31/functions/%66"),
        ("/2015-03-31/functions/f", "/2015-03-31/functions%2Ff"),
        ("/2015-03-31/functions/x", "/2015-03-31/functions/x%2F..%2Ff"),
        ("/2015-03-31/functions/x/../f", "/2015-03-31/functions/x"),
        ("/2015-03-31/functions/%66", "/2015-03-31/functions/f"),
    ] {
        get(signed).but(|r| r.path = sent.to_owned()).refused(&format!("signed as {signed}, sent as {sent}"), INVALID)?;
    }
    // What holds an escaped slash is one name, and no such function is there.
    for path in [
        "/2015-03-31/functions/x%2F..%2Ff",
        "/2015-03-31%2Ffunctions%2Ff",
        "/2015-03-31/functions/f%00",
        "/2015-03-31/functions/f%2Fconfiguration",
    ] {
        let got = get(path).send()?;
        ensure!((400..500).contains(&got.status), "{path} was answered {}: {}", got.status, got.text());
        ensure!(!got.text().contains("CodeSha256"), "{path} was answered with a function: {}", got.text());
    }
    ensure!(f.call(json!(1))? == 1);
    Ok(())
}
