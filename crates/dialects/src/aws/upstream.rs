//! Services that the platform lacks: a request for one goes to where the operator said that it is, else its client learns what to
//! configure. Nothing leaves for anywhere else.
//!
//! A role passes as its policies allow. What is asked for is read from where the protocol puts it: `X-Amz-Target`, `Action=`, and
//! for S3 from method and path. Where a request doesn't show its operation or its resource, only a statement that allows all of
//! the service's (`dynamodb:*`, `Resource: "*"`) lets it pass: the platform doesn't know other services' models.

use super::{
    access::{self, Question},
    fault::WireError,
    percent,
    respond::Reply,
    shared::Asked,
};
use http::Method;
use model::Principal;
use std::borrow::Cow;

/// Parameters of an S3 request that name no other operation.
const S3_PLAIN: &[&str] = &[
    "x-id",
    "partNumber",
    "uploadId",
    "versionId",
    "list-type",
    "prefix",
    "delimiter",
    "max-keys",
    "continuation-token",
    "start-after",
    "encoding-type",
    "marker",
    "fetch-owner",
];

pub async fn handle(asked: &Asked, service: &str) -> Result<Reply, WireError> {
    // It is signed anew with the operator's key, for which tenants are all one: nobody else's requests go there.
    if asked.tenant != asked.shared.settings.default_tenant {
        return Err(unserved(service));
    }
    allowed(asked, service)?;
    let request = http::Request::from_parts(asked.parts.clone(), asked.body.clone());
    match asked.platform().pass_on(service, request) {
        Some(answer) => Ok(answer.await),
        None => Err(unserved(service)),
    }
}

/// A service that Myna lacks gets a name and a next step, in the form its clients read.
fn unserved(service: &str) -> WireError {
    let text = format!(
        "myna does not serve {service}; this endpoint answers lambda, logs, sts and iam. Where {service} is to be found is said in \
         the configuration: [upstream.{service}] url = \"http://…\""
    );
    WireError::new(501, "NotImplementedException", text)
}

fn allowed(asked: &Asked, service: &str) -> Result<(), WireError> {
    if matches!(asked.principal, Principal::Root { .. }) {
        return Ok(());
    }
    let (action, resource) = what(asked, service);
    access::decide(asked, Question::new(&action, &resource))
}

/// The action and the resource as far as the request shows them.
fn what(asked: &Asked, service: &str) -> (String, Cow<'static, str>) {
    if service == "s3" {
        return s3(&asked.parts);
    }
    let target = asked.header("x-amz-target").and_then(|t| t.rsplit_once('.')).map(|(_, operation)| operation.to_owned());
    let forms = [std::str::from_utf8(&asked.body).unwrap_or_default(), asked.parts.uri.query().unwrap_or_default()];
    let actions =
        forms.into_iter().flat_map(percent::pairs).filter(|(name, _)| name == "Action").map(|(_, value)| value.into_owned());
    let named: Vec<String> = target.into_iter().chain(actions).collect();
    // Named twice, it would be anybody's guess which one the service obeys.
    let operation = match &named[..] {
        [one] if is_name(one) => one,
        _ => "*",
    };
    (format!("{service}:{operation}"), "*".into())
}

/// An operation's name has no wildcard in it.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3": the everyday actions; all else needs
/// `s3:*`.
fn s3(parts: &http::request::Parts) -> (String, Cow<'static, str>) {
    let path = percent::decode(parts.uri.path()).trim_start_matches('/').to_owned();
    let plain = percent::pairs(parts.uri.query().unwrap_or_default()).all(|(name, _)| S3_PLAIN.contains(&&*name));
    let copies = parts.headers.contains_key("x-amz-copy-source");
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    let action = match (&parts.method, bucket.is_empty(), key.is_empty()) {
        _ if !plain || copies => "*",
        (&Method::GET, true, _) => "ListAllMyBuckets",
        (&Method::GET | &Method::HEAD, false, true) => "ListBucket",
        (&Method::GET | &Method::HEAD, false, false) => "GetObject",
        (&Method::PUT, false, true) => "CreateBucket",
        (&Method::PUT | &Method::POST, false, false) => "PutObject",
        (&Method::DELETE, false, true) => "DeleteBucket",
        (&Method::DELETE, false, false) => "DeleteObject",
        _ => "*",
    };
    let resource = match (bucket, key) {
        ("", _) => "*".into(),
        (bucket, "") => format!("arn:aws:s3:::{bucket}"),
        (bucket, key) => format!("arn:aws:s3:::{bucket}/{key}"),
    };
    (format!("s3:{action}"), resource.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_s3_request_does_is_read_from_method_and_path() {
        for (method, path, action, resource) in [
            ("GET", "/", "s3:ListAllMyBuckets", "*"),
            ("GET", "/b?list-type=2&prefix=x", "s3:ListBucket", "arn:aws:s3:::b"),
            ("GET", "/b/k%20k?x-id=GetObject", "s3:GetObject", "arn:aws:s3:::b/k k"),
            ("PUT", "/b/d/k", "s3:PutObject", "arn:aws:s3:::b/d/k"),
            ("PUT", "/b?policy", "s3:*", "arn:aws:s3:::b"),
            ("POST", "/b?delete", "s3:*", "arn:aws:s3:::b"),
            ("DELETE", "/b/k", "s3:DeleteObject", "arn:aws:s3:::b/k"),
        ] {
            let parts = http::Request::builder().method(method).uri(path).body(()).unwrap().into_parts().0;
            assert_eq!(s3(&parts), (action.to_owned(), resource.into()), "{method} {path}");
        }
    }
}
