//! Answers that arrive in pieces (Lambda developer guide, "Response streaming"): bytes go on as they come. A function that
//! wants to say more than bytes begins with a metadata document and eight NULs.

use super::reply::{self, Malformed};
use crate::aws::{eventstream, limits::PRELUDE_BYTES_MAX, respond::Reply};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::{
    Cause, Fault, Frame, FrameStream, ReplyHead,
    event::{Reply as Answer, ReplyBody},
};

const PRELUDE_TYPE: &[u8] = b"application/vnd.awslambda.http-integration-response";
const DELIMITER: [u8; 8] = [0; 8];

pub fn has_prelude(head: &ReplyHead) -> bool {
    head.headers.get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(PRELUDE_TYPE))
}

fn broken(malformed: Malformed) -> Fault {
    Fault::new(Cause::Protocol, malformed.0)
}

fn assemble(status: StatusCode, headers: HeaderMap, body: ReplyBody) -> Reply {
    let mut reply = http::Response::new(body);
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply
}

/// A whole answer that begins with metadata, for a URL that doesn't stream.
pub fn whole(body: &Bytes) -> Result<Reply, Malformed> {
    let at = delimiter(body).ok_or(Malformed("the metadata's end is missing"))?;
    let (status, headers) = reply::prelude(&body[..at])?;
    Ok(assemble(status, headers, ReplyBody::Bytes(body.slice(at + DELIMITER.len()..))))
}

fn delimiter(bytes: &[u8]) -> Option<usize> {
    bytes.windows(DELIMITER.len()).position(|w| w == DELIMITER)
}

/// An answer as it comes. What goes wrong before its first byte is a failure that can still be told; after that the answer is
/// cut off, never ended as if it were whole.
pub async fn answer(reply: Answer) -> Result<Reply, Fault> {
    let Answer { head, body } = reply;
    let prelude = has_prelude(&head);
    let mut frames: FrameStream = match body {
        ReplyBody::Bytes(_) if head.error.is_some() => return Err(Fault::new(Cause::Exited, "the function reported an error")),
        ReplyBody::Bytes(bytes) => stream::iter([Frame::Data(bytes)]).boxed(),
        ReplyBody::Stream(frames) => frames,
    };
    let (first, parsed) = if prelude {
        let (rest, status, headers) = read_prelude(&mut frames).await?;
        (rest, Some((status, headers)))
    } else {
        (next(&mut frames).await?, None)
    };
    let (status, headers) = parsed.unwrap_or_else(|| {
        let kind = head.headers.get(header::CONTENT_TYPE).cloned();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/octet-stream")));
        (StatusCode::OK, headers)
    });
    let Some(first) = first else { return Ok(assemble(status, headers, ReplyBody::Bytes(Bytes::new()))) };
    let rest = frames.map(|frame| match frame {
        Frame::Trailers(trailers) => match eventstream::error_of(&trailers) {
            Some((kind, _)) => {
                Frame::Fault(Fault::new(Cause::Exited, "the function failed in the middle of its answer").detail(kind))
            }
            None => Frame::Data(Bytes::new()),
        },
        other => other,
    });
    let all = stream::iter((!first.is_empty()).then_some(Frame::Data(first))).chain(rest);
    Ok(assemble(status, headers, ReplyBody::Stream(all.boxed())))
}

/// The next bytes; `None` at the end.
async fn next(frames: &mut FrameStream) -> Result<Option<Bytes>, Fault> {
    match frames.next().await {
        Some(Frame::Data(bytes)) => Ok(Some(bytes)),
        Some(Frame::Fault(fault)) => Err(fault),
        Some(Frame::Trailers(trailers)) if eventstream::error_of(&trailers).is_some() => {
            Err(Fault::new(Cause::Exited, "the function reported an error"))
        }
        Some(Frame::Trailers(_)) | None => Ok(None),
    }
}

async fn read_prelude(frames: &mut FrameStream) -> Result<(Option<Bytes>, StatusCode, HeaderMap), Fault> {
    let mut seen = BytesMut::new();
    loop {
        let Some(bytes) = next(frames).await? else { return Err(broken(Malformed("the metadata's end is missing"))) };
        seen.extend_from_slice(&bytes);
        if let Some(at) = delimiter(&seen[..seen.len().min(PRELUDE_BYTES_MAX + DELIMITER.len())]) {
            let (status, headers) = reply::prelude(&seen[..at]).map_err(broken)?;
            let rest = seen.freeze().slice(at + DELIMITER.len()..);
            return Ok((Some(rest), status, headers));
        }
        if seen.len() > PRELUDE_BYTES_MAX {
            return Err(broken(Malformed("the metadata is longer than 16 KiB")));
        }
    }
}
