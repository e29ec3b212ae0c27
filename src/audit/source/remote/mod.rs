//! Logs in object stores: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage. They are read as streams,
//! from begin to end; nothing of them is written to disk.

mod connect;
mod http;

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{Buf, Bytes};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::{LogFile, MAX_FILES, Packing};
use crate::cluster::Problem;

/// Pieces that wait for the reader; each is what came over the network at once.
const AHEAD: usize = 64;
/// Objects whose first bytes are fetched side by side.
const AT_ONCE: usize = 16;

/// A bucket or container, with where it is.
struct Bucket {
    store: Arc<dyn ObjectStore>,
    /// `S3 bucket logs at https://s3.eu-north-1.amazonaws.com, region eu-north-1`.
    place: String,
}

/// `s3://bucket/key`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address<'a> {
    scheme: &'a str,
    bucket: &'a str,
    key: &'a str,
}

impl<'a> Address<'a> {
    fn of(path: &'a Path) -> Option<Address<'a>> {
        let (scheme, rest) = path.to_str()?.split_once("://")?;
        if !matches!(scheme, "s3" | "gs" | "az") {
            return None;
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Address { scheme, bucket, key })
    }
}

/// Whether a path is an object store's.
pub fn is(path: &Path) -> bool {
    Address::of(path).is_some()
}

/// Where the bucket of a path lies, in words; None for what is on this machine, or before it was looked at.
pub fn place(path: &Path) -> Option<String> {
    let address = Address::of(path)?;
    let known = buckets().lock().unwrap_or_else(PoisonError::into_inner);
    known.get(&(address.scheme.to_owned(), address.bucket.to_owned())).map(|b| b.place.clone())
}

type Buckets = Mutex<HashMap<(String, String), Arc<Bucket>>>;

/// Connections are kept for the time of the process.
fn buckets() -> &'static Buckets {
    static BUCKETS: OnceLock<Buckets> = OnceLock::new();
    BUCKETS.get_or_init(Buckets::default)
}

fn bucket(address: Address<'_>) -> Result<Arc<Bucket>, Problem> {
    let mut known = buckets().lock().unwrap_or_else(PoisonError::into_inner);
    let name = (address.scheme.to_owned(), address.bucket.to_owned());
    if let Some(bucket) = known.get(&name) {
        return Ok(bucket.clone());
    }
    let bucket = Arc::new(connect::bucket(address)?);
    known.insert(name, bucket.clone());
    Ok(bucket)
}

/// The network has a thread of its own: who reads a log waits in one that may.
fn runtime() -> Result<&'static Runtime, Problem> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("object-store").enable_all().build()
    });
    made.as_ref().map_err(|e| Problem::failed(format!("no thread can be started for the object store: {e}")))
}

/// Waits for a future from wherever it is called.
fn wait<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T, Problem> {
    let (tell, told) = std::sync::mpsc::channel();
    runtime()?.spawn(async move {
        // Who asked may have given up.
        let _ = tell.send(future.await);
    });
    told.recv().map_err(|_| Problem::internal("asking the object store ended early"))
}

/// The objects of an address: the one of that key, all below it, or those that a pattern in it names.
///
/// Errors: what is missing in the environment, and what the store refuses.
pub fn find(path: &Path, files: &mut Vec<LogFile>) -> Result<(), Problem> {
    let Some(address) = Address::of(path) else { return Ok(()) };
    let shown = path.display().to_string();
    if address.bucket.is_empty() {
        return Err(Problem::usage(format!("{shown} names no bucket")).hint("write it as s3://BUCKET/PREFIX"));
    }
    let bucket = bucket(address)?;
    let wanted = Wanted::of(address.key).map_err(|why| Problem::usage(format!("{shown} is no pattern: {why}")))?;
    let store = bucket.store.clone();
    let found = wait(async move { wanted.list(store.as_ref()).await })?
        .map_err(|e| refused(&format!("can't list {shown} in the {}", bucket.place), &e))?;
    if found.is_empty() {
        return Err(Problem::usage(format!("nothing lies at {shown} in the {}", bucket.place))
            .hint("give an object's key, a prefix that ends where a name does, or a pattern with `*`"));
    }
    for (meta, start) in found {
        files.push(LogFile {
            path: format!("{}://{}/{}", address.scheme, address.bucket, meta.location).into(),
            size: meta.size,
            packing: Packing::of(&start),
        });
    }
    Ok(())
}

/// Which keys.
struct Wanted {
    key: String,
    /// What the store lists; the pattern is held against what it gives.
    prefix: Option<Key>,
    pattern: Option<glob::Pattern>,
}

impl Wanted {
    fn of(key: &str) -> Result<Wanted, String> {
        let special = |part: &&str| part.contains(['*', '?', '[']);
        let whole: Vec<&str> = key.split('/').take_while(|part| !special(part)).collect();
        let pattern = match key.split('/').any(|part| special(&part)) {
            true => Some(glob::Pattern::new(key).map_err(|e| e.to_string())?),
            false => None,
        };
        let prefix = whole.join("/");
        let prefix = match prefix.trim_matches('/') {
            "" => None,
            prefix => Some(Key::parse(prefix).map_err(|e| e.to_string())?),
        };
        Ok(Wanted { key: key.to_owned(), prefix, pattern })
    }

    async fn list(self, store: &dyn ObjectStore) -> object_store::Result<Vec<(ObjectMeta, Bytes)>> {
        let mut all = Vec::new();
        if let (None, Some(key)) = (&self.pattern, &self.prefix)
            && !self.key.ends_with('/')
        {
            match store.head(key).await {
                Ok(meta) => all.push(meta),
                // Who may not list is told so of keys that are not there.
                Err(object_store::Error::NotFound { .. } | object_store::Error::PermissionDenied { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        if all.is_empty() {
            let options = glob::MatchOptions {
                case_sensitive: true,
                require_literal_separator: true,
                require_literal_leading_dot: false,
            };
            let mut listed = store.list(self.prefix.as_ref());
            while let Some(meta) = listed.try_next().await? {
                let named = self.pattern.as_ref().is_none_or(|p| p.matches_with(meta.location.as_ref(), options));
                if named && meta.size > 0 {
                    all.push(meta);
                }
                // One more than is taken, so that it is seen to be too many.
                if all.len() > MAX_FILES {
                    break;
                }
            }
        }
        if all.len() > MAX_FILES {
            return Ok(all.into_iter().map(|meta| (meta, Bytes::new())).collect());
        }
        futures::stream::iter(all.into_iter().map(|meta| async move {
            let start = match meta.size {
                0 => Bytes::new(),
                size => store.get_range(&meta.location, 0..size.min(4)).await?,
            };
            Ok((meta, start))
        }))
        .buffered(AT_ONCE)
        .try_collect()
        .await
    }
}

const RIGHTS: &str = "the credentials in the environment must give the right to list and to read there";

/// What a store says no to, without what a request carried.
fn refused(what: &str, error: &object_store::Error) -> Problem {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    let problem = Problem::usage(format!("{what}: {}", text.chars().take(500).collect::<String>()));
    // Of a listing the status alone is told.
    let no = ["403 Forbidden", "401 Unauthorized"].iter().any(|status| text.contains(status));
    match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            problem.hint(RIGHTS)
        }
        _ if no => problem.hint(RIGHTS),
        _ => problem,
    }
}

/// An object's content as it comes.
pub struct Content {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

/// Begins to read an object.
pub fn read(path: &Path) -> io::Result<Content> {
    let address = Address::of(path).ok_or_else(|| io::Error::other("not an object store's address"))?;
    let bucket = bucket(address).map_err(|problem| io::Error::other(problem.message))?;
    let key = Key::parse(address.key).map_err(io::Error::other)?;
    let (tell, pieces) = mpsc::channel(AHEAD);
    let runtime = runtime().map_err(|problem| io::Error::other(problem.message))?;
    runtime.spawn(async move {
        let failed = |e: object_store::Error| io::Error::other(refused("the object store", &e).message);
        let mut stream = match bucket.store.get(&key).await {
            Ok(found) => found.into_stream(),
            Err(e) => return drop(tell.send(Err(failed(e))).await),
        };
        while let Some(piece) = stream.next().await {
            // Nobody reads on.
            if tell.send(piece.map_err(failed)).await.is_err() {
                return;
            }
        }
    });
    Ok(Content { pieces, piece: Bytes::new() })
}

impl Read for Content {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(into.len());
        into[..count].copy_from_slice(&self.piece[..count]);
        self.piece.advance(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        let of = |text: &'static str| Address::of(Path::new(text));
        assert_eq!(of("s3://logs/a/b.gz"), Some(Address { scheme: "s3", bucket: "logs", key: "a/b.gz" }));
        assert_eq!(of("az://c"), Some(Address { scheme: "az", bucket: "c", key: "" }));
        for path in ["/var/log/s3", "s3:/logs", "http://x/y", "file:///x", "-"] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn a_pattern_is_listed_by_what_stands_before_it() {
        let prefix = |key| Wanted::of(key).unwrap().prefix.map(|p| p.to_string());
        assert_eq!(prefix("a/b/2026-11-2*/x.gz").as_deref(), Some("a/b"));
        assert_eq!(prefix("a/b").as_deref(), Some("a/b"));
        assert_eq!(prefix("*.gz"), None);
        assert!(Wanted::of("a/[").is_err());
    }

    #[test]
    fn a_store_in_memory_is_listed_and_sniffed() {
        let store = object_store::memory::InMemory::new();
        let keys = ["logs/a.log", "logs/b.log.gz", "logs/deep/c.log", "logsx/d.log", "logs/empty"];
        for key in keys {
            let bytes: &'static [u8] = match key {
                "logs/b.log.gz" => &[0x1f, 0x8b, 8, 0, 0],
                "logs/empty" => &[],
                _ => b"{}",
            };
            futures::executor::block_on(store.put(&Key::from(key), bytes.into())).unwrap();
        }
        let list = |key: &str| -> Vec<(String, Packing)> {
            let found = futures::executor::block_on(Wanted::of(key).unwrap().list(&store)).unwrap();
            found.into_iter().map(|(meta, start)| (meta.location.to_string(), Packing::of(&start))).collect()
        };
        let names = |key: &str| list(key).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("logs"), ["logs/a.log", "logs/b.log.gz", "logs/deep/c.log"], "not logsx, not what is empty");
        assert_eq!(names("logs/a.log"), ["logs/a.log"]);
        assert_eq!(names("logs/*.log"), ["logs/a.log"], "`*` stands for a part of one name");
        assert_eq!(list("logs/b*"), [("logs/b.log.gz".to_owned(), Packing::Gzip)]);
        assert!(names("nothing").is_empty());
    }
}
