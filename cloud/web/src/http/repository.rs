//! Serves the projects' release repositories to devices and other TUF clients.

use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::extract::{Path as PathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use iottly_cloud::clock;
use iottly_protocol::ProjectId;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};

use crate::app::{App, WebServices};
use crate::auth::{ReleaseReader, trace_project};
use crate::error::ApiError;

/// Maximum number of bytes that are read at once.
const PIECE: u64 = 64 << 10;
/// Time after which a download under way is checked again, in milliseconds: a device that is deleted, replaced or
/// logged in with a secret that has ended gets nothing more.
const CHECK_MS: i64 = 500;

/// Returns a file of a repository, or a range of it.
pub(super) async fn file(
    State(app): State<App>,
    PathParams((project, _)): PathParams<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let project = project.parse::<ProjectId>().map_err(|_| ApiError::not_found())?;
    trace_project(project);
    let (mut parts, _) = request.into_parts();
    let reader = ReleaseReader::of(project, &mut parts, &app).await?;
    let folder = app.services.rollouts.repositories().folder(project);
    let path = place(&folder, parts.uri.path()).ok_or_else(ApiError::not_found)?;
    let permission = Permission {
        reader,
        services: app.services,
        checked_ms: clock::steady_ms(),
    };
    match answer(&path, &parts.headers, permission).await {
        Ok(response) => Ok(response),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::InvalidFilename
                    | io::ErrorKind::InvalidInput
            ) =>
        {
            Err(ApiError::not_found())
        }
        Err(error) => Err(ApiError::internal(&error)),
    }
}

/// Returns the file for a URL path. File names on the disk are as in the path, including percent signs.
fn place(folder: &Path, address: &str) -> Option<PathBuf> {
    let mut parts = address.split('/').skip(3);
    let top = parts
        .next()
        .filter(|top| matches!(*top, "metadata" | "targets"))?;
    let mut path = folder.join(top);
    let mut named = false;
    for part in parts {
        if matches!(part, "" | "." | "..") || part.contains('\\') || part.ends_with(".new") {
            return None;
        }
        path.push(part);
        named = true;
    }
    named.then_some(path)
}

async fn answer(path: &Path, headers: &HeaderMap, permission: Permission) -> io::Result<Response> {
    let mut file = File::open(path).await?;
    let meta = file.metadata().await?;
    if !meta.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let (length, etag) = (meta.len(), etag(&meta));
    let asked = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    if asked(header::IF_NONE_MATCH).is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    // A range of a newer version is useless to a client that has started with an older one, so it gets the
    // whole.
    let wanted = asked(header::RANGE).filter(|_| asked(header::IF_RANGE).is_none_or(|known| known == etag));
    let (status, from, size, range) = match wanted.map(|text| range(text, length)) {
        None | Some(Range::All) => (StatusCode::OK, 0, length, None),
        Some(Range::Part(from, last)) => (
            StatusCode::PARTIAL_CONTENT,
            from,
            last - from + 1,
            Some(format!("bytes {from}-{last}/{length}")),
        ),
        Some(Range::Outside) => {
            let range = format!("bytes */{length}");
            return Ok((
                StatusCode::RANGE_NOT_SATISFIABLE,
                [(header::CONTENT_RANGE, range)],
            )
                .into_response());
        }
    };
    file.seek(SeekFrom::Start(from)).await?;
    let kind = if path.extension().is_some_and(|name| name == "json") {
        "application/json"
    } else {
        "application/octet-stream"
    };
    let mut response = (status, Body::from_stream(pieces(file, size, permission))).into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    for (name, value) in [(header::ETAG, Some(etag)), (header::CONTENT_RANGE, range)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            fields.insert(name, value);
        }
    }
    Ok(response)
}

/// Returns the ETag of a file: its length and time, since a file is only ever replaced as a whole.
fn etag(meta: &std::fs::Metadata) -> String {
    let since = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    format!("\"{:x}-{:x}\"", meta.len(), since.as_nanos())
}

/// Permission to read, which may end during a download.
struct Permission {
    reader: ReleaseReader,
    services: WebServices,
    /// Steady time of the latest check.
    checked_ms: i64,
}

impl Permission {
    /// Checks the permission again if the latest check is too long ago.
    async fn check(&mut self) -> io::Result<()> {
        let now = clock::steady_ms();
        if now - self.checked_ms < CHECK_MS {
            return Ok(());
        }
        self.checked_ms = now;
        match self.reader.still_reads(&self.services).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// Reads `size` bytes, one piece after the other as the client receives them, for as long as it may read.
fn pieces(
    file: File,
    size: u64,
    permission: Permission,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    try_unfold(
        (file, size, permission),
        |(mut file, left, mut permission)| async move {
            if left == 0 {
                return Ok(None);
            }
            permission.check().await?;
            let mut piece = vec![0; usize::try_from(left.min(PIECE)).unwrap_or(0)];
            let read = file.read(&mut piece).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            piece.truncate(read);
            let left = left - read as u64;
            Ok(Some((Bytes::from(piece), (file, left, permission))))
        },
    )
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// Whole file: no range was requested, or none that is understood.
    All,
    /// First and last byte.
    Part(u64, u64),
    /// Range without any byte of the file.
    Outside,
}

/// Parses `bytes=FIRST-LAST`, `bytes=FIRST-` and `bytes=-COUNT`; for several ranges the whole file is
/// returned.
fn range(text: &str, length: u64) -> Range {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|spec| spec.trim().split_once('-'))
    else {
        return Range::All;
    };
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| {
        text.parse::<u64>()
            .ok()
            .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match (number(first), number(last)) {
        (Some(from), _) if from >= length && (last.is_empty() || number(last).is_some()) => Range::Outside,
        (Some(from), Some(last)) if last >= from => Range::Part(from, last.min(length - 1)),
        (Some(from), None) if last.is_empty() => Range::Part(from, length - 1),
        (None, Some(count)) if first.is_empty() && (count == 0 || length == 0) => Range::Outside,
        (None, Some(count)) if first.is_empty() => Range::Part(length.saturating_sub(count), length - 1),
        _ => Range::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes=0-9", Range::Part(0, 9)),
            ("bytes=5-", Range::Part(5, 99)),
            ("bytes=90-200", Range::Part(90, 99)),
            ("bytes=-10", Range::Part(90, 99)),
            ("bytes=-1000", Range::Part(0, 99)),
            ("bytes=100-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=9-5", Range::All),
            ("bytes=0-1,5-6", Range::All),
            ("lines=0-1", Range::All),
            ("bytes=+1-2", Range::All),
        ] {
            assert_eq!(range(text, 100), expected, "{text}");
        }
        assert_eq!(range("bytes=0-", 0), Range::Outside);
    }

    #[test]
    fn files_outside_are_nowhere() {
        let folder = Path::new("/data");
        let found = |address: &str| place(folder, address);
        assert_eq!(
            found("/repo/p/metadata/1.root.json"),
            Some("/data/metadata/1.root.json".into())
        );
        assert_eq!(
            found("/repo/p/targets/a%2Fb/c.wasm"),
            Some("/data/targets/a%2Fb/c.wasm".into())
        );
        for outside in [
            "/repo/p/keys/a",
            "/repo/p/metadata",
            "/repo/p/metadata/",
            "/repo/p/metadata/../keys/a",
            "/repo/p/metadata//etc",
            "/repo/p/metadata/1.new",
        ] {
            assert_eq!(found(outside), None, "{outside}");
        }
    }
}
