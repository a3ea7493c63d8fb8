//! A package's archive for whoever was given a capability for it: read piece by piece as the client takes it.
//!
//! A download holds a descriptor and one piece, however large the archive and however slow the client; no thread waits for it.
//! More than [`DOWNLOADS_MAX`] at once are told to come back.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use model::{
    Fault, Frame, ReplyBody,
    limits::{DOWNLOAD_PIECE_BYTES, DOWNLOADS_MAX},
    ports::Response,
};
use std::{io::Read, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(DOWNLOADS_MAX))
}

pub fn answer(file: Box<dyn Read + Send>, bytes: u64, room: &Arc<Semaphore>) -> Response {
    let Ok(permit) = room.clone().try_acquire_owned() else { return busy() };
    let rest = Rest { file, left: bytes, _permit: permit };
    let frames = stream::unfold(Some(rest), |rest| async move { next(rest?).await });
    let mut response = Response::new(ReplyBody::Stream(Box::pin(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    response.headers_mut().insert(header::CONTENT_LENGTH, bytes.into());
    response
}

fn busy() -> Response {
    let mut response = Response::new(ReplyBody::Bytes(Bytes::from_static(b"too many downloads at once; try again\n")));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// What of an archive is not sent yet.
struct Rest {
    file: Box<dyn Read + Send>,
    left: u64,
    _permit: OwnedSemaphorePermit,
}

/// The next piece; after the last one, or a fault, nothing.
async fn next(mut rest: Rest) -> Option<(Frame, Option<Rest>)> {
    if rest.left == 0 {
        return None;
    }
    let read = tokio::task::spawn_blocking(move || {
        let most = DOWNLOAD_PIECE_BYTES.min(usize::try_from(rest.left).unwrap_or(usize::MAX));
        let mut piece = Vec::with_capacity(most);
        let read = (&mut rest.file).take(most as u64).read_to_end(&mut piece);
        read.map(|n| {
            rest.left -= n as u64;
            (Bytes::from(piece), rest)
        })
    });
    let fault = |why: String| Some((Frame::Fault(Fault::internal(format!("an archive can't be read: {why}"))), None));
    match read.await {
        Ok(Ok((piece, _))) if piece.is_empty() => fault("it is shorter than it was".into()),
        Ok(Ok((piece, rest))) => Some((Frame::Data(piece), Some(rest))),
        Ok(Err(error)) => fault(error.to_string()),
        Err(error) => fault(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    fn archive(bytes: &[u8]) -> Box<dyn Read + Send> {
        Box::new(std::io::Cursor::new(bytes.to_vec()))
    }

    fn frames(response: Response) -> model::event::FrameStream {
        match response.into_body() {
            ReplyBody::Stream(frames) => frames,
            ReplyBody::Bytes(_) => panic!("read whole into memory"),
        }
    }

    #[tokio::test]
    async fn an_archive_comes_in_pieces_and_a_broken_one_never_as_a_whole() {
        let content: Vec<u8> = (0..2 * DOWNLOAD_PIECE_BYTES + 7).map(|n| n as u8).collect();
        let response = answer(archive(&content), content.len() as u64, &room());
        assert_eq!(response.headers()[header::CONTENT_LENGTH], content.len().to_string());
        let mut got = Vec::new();
        let mut pieces = frames(response);
        while let Some(frame) = pieces.next().await {
            let Frame::Data(piece) = frame else { panic!("an archive is data") };
            assert!(piece.len() <= DOWNLOAD_PIECE_BYTES);
            got.extend_from_slice(&piece);
        }
        assert!(got == content);
        let short: Vec<Frame> = frames(answer(archive(b"abc"), 4, &room())).collect().await;
        assert!(matches!(&short[..], [Frame::Data(piece), Frame::Fault(_)] if piece == "abc"));
    }

    #[tokio::test]
    async fn only_so_many_are_under_way_and_one_that_ends_or_leaves_makes_room() {
        let room = Arc::new(Semaphore::new(2));
        let start = || answer(archive(b"abc"), 3, &room);
        let (first, second) = (start(), start());
        assert_eq!(start().status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(first);
        assert_eq!(frames(start()).count().await, 1);
        drop(second);
        assert_eq!(room.available_permits(), 2);
    }
}
