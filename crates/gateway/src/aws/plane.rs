//! What an instance may ask of the platform over its own socket.
//!
//! Only the credential of that very instance signs here, and it signs nowhere else: a stolen one is worthless on any other
//! socket. Only the data plane is behind it: calling functions, asking who one is, and writing logs. What the role allows is decided where
//! every call is decided, in the engine; verbs that change the platform are refused before anybody looks at a policy.

use super::{AwsDoor, Source, denial, dispatch_signed_path, place::Place};
use crate::sigv4::{Claim, Denial, Verifier, normal_path};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{Method, request::Parts};
use model::{
    Cause, Fault, Fut, Principal,
    event::Body,
    ports::{InstanceCaller, Request, Response},
};

/// Services that the platform itself answers.
const OWN: &[&str] = &["lambda", "logs", "sts", "iam"];
/// Bytes of a request's body for a service that the operator has elsewhere: a part of an S3 upload as the SDKs make them.
const PASSED_ON_MAX: usize = 9 * 1024 * 1024;

impl AwsDoor {
    /// Answer a request that came over the socket of `caller`'s instance.
    pub fn plane(&self, request: Request, caller: InstanceCaller) -> Fut<'_, Response> {
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match self.instance_call(&parts, body, &caller).await {
                Ok((body, service)) => {
                    dispatch_signed_path(&mut parts, &service);
                    parts.extensions.insert(caller.clone());
                    let source = source(&caller);
                    self.dispatch(parts, body, caller.principal, service.into(), source).await
                }
                Err(fault) => self.turned_away(&parts, &fault, &source(&caller)),
            }
        })
    }

    async fn instance_call(&self, parts: &Parts, body: Body, caller: &InstanceCaller) -> Result<(Bytes, String), Fault> {
        let claim = match Claim::of(parts) {
            Ok(Some(claim)) => claim,
            Ok(None) => return Err(denial::fault(&Denial::Missing, "lambda", None)),
            Err(denied) => return Err(denial::fault(&denied, "lambda", None)),
        };
        let denied = |denied: Denial| denial::fault(&denied, &claim.service, Some(&claim.access_key));
        if claim.access_key != *caller.credential.access_key_id {
            return Err(denied(Denial::UnknownKey));
        }
        self.scope(&claim).and_then(|()| Verifier::timely(&claim, self.clock.wall_ms())).map_err(denied)?;
        let limit = if OWN.contains(&&*claim.service) { Place::Api.limit(parts) } else { PASSED_ON_MAX };
        let body = whole(body, limit).await?;
        self.verifier.verify(parts, &body, &claim, &caller.credential).map_err(denied)?;
        data_plane(parts, &claim.service)?;
        Ok((body, claim.service))
    }
}

fn source(caller: &InstanceCaller) -> Source {
    match &caller.principal {
        Principal::Role { instance, .. } => Source::Instance(*instance),
        _ => Source::Peer("instance", None),
    }
}

/// What the runtimes' own role may do of CloudWatch Logs (`AWSLambdaBasicExecutionRole`).
const LOG_WRITES: [&str; 3] = ["CreateLogGroup", "CreateLogStream", "PutLogEvents"];

fn writes_logs(parts: &Parts) -> bool {
    let mut targets = parts.headers.get_all("x-amz-target").iter();
    let operation = targets.next().and_then(|v| v.to_str().ok()?.strip_prefix("Logs_20140328."));
    targets.next().is_none() && operation.is_some_and(|o| LOG_WRITES.contains(&o))
}

/// Lambda's calls, STS, and writing logs. A service that the platform lacks goes on to the dialect, which names it in its answer.
fn data_plane(parts: &Parts, service: &str) -> Result<(), Fault> {
    let path = normal_path(parts.uri.path());
    let call = parts.method == Method::POST
        && matches!(
            path.split('/').collect::<Vec<_>>()[..],
            ["", "2015-03-31", "functions", _, "invocations"]
                | ["", "2021-11-15", "functions", _, "response-streaming-invocations"]
                | ["", "2014-11-13", "functions", _, "invoke-async"]
        );
    let control = match service {
        "lambda" => !call,
        "logs" => !writes_logs(parts),
        "iam" => true,
        _ => false,
    };
    if control {
        let text = format!("{service}: an instance reaches the data plane only (calling functions, sts, and writing logs)");
        return Err(Fault::new(Cause::Denied, text).detail("AccessDeniedException"));
    }
    Ok(())
}

async fn whole(body: Body, limit: usize) -> Result<Bytes, Fault> {
    let too_large =
        || Fault::new(Cause::TooLarge, format!("the request's body is larger than {limit} bytes")).detail(limit.to_string());
    match body {
        Body::Bytes(bytes) if bytes.len() > limit => Err(too_large()),
        Body::Bytes(bytes) => Ok(bytes),
        Body::Stream(mut stream) => {
            let mut all = BytesMut::new();
            while let Some(piece) = stream.next().await {
                let piece = piece.map_err(|e| Fault::invalid(format!("the request's body broke off: {e}")))?;
                if all.len() + piece.len() > limit {
                    return Err(too_large());
                }
                all.extend_from_slice(&piece);
            }
            Ok(all.freeze())
        }
    }
}
