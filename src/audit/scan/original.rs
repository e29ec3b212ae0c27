//! The original lines: from the file, or from a copy of what could be read but once.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use serde_json::Value;
use tempfile::SpooledTempFile;

use super::kept::Request;
use crate::audit::event::{Event, Origin};
use crate::audit::format::{self, Record};
use crate::audit::shape::shape;
use crate::cluster::Problem;

/// Bytes of copies that are held in memory; more go to a file that has no name and that only its owner may read.
const IN_MEMORY: usize = 16 * 1024 * 1024;

/// Copies of matching records out of compressed files and standard input.
pub(super) struct Spool(Mutex<(SpooledTempFile, u64, Option<std::io::Error>)>);

impl Default for Spool {
    fn default() -> Spool {
        Spool(Mutex::new((tempfile::spooled_tempfile(IN_MEMORY), 0, None)))
    }
}

impl Spool {
    /// Where the copy lies.
    pub fn copy(&self, text: &[u8]) -> u64 {
        let Ok(mut spool) = self.0.lock() else { return u64::MAX };
        let (file, end, failed) = &mut *spool;
        match file.write_all(text) {
            Ok(()) => {
                let at = *end;
                *end += text.len() as u64;
                at
            }
            Err(e) => {
                failed.get_or_insert(e);
                u64::MAX
            }
        }
    }
}

/// Gives the original text of a request.
#[derive(Debug, Default)]
pub struct Originals {
    files: Vec<Option<File>>,
    spool: Option<SpooledTempFile>,
}

impl Originals {
    pub(super) fn of(files: Vec<Option<File>>, spool: Spool) -> Result<Originals, Problem> {
        let (spool, _, failed) =
            spool.0.into_inner().map_err(|_| Problem::internal("reading the audit log ended early"))?;
        match failed {
            Some(e) => Err(Problem::failed(format!("can't keep matching lines of a compressed log: {e}"))
                .hint("set TMPDIR to a directory with room, or unpack the log first")),
            None => Ok(Originals { files, spool: Some(spool) }),
        }
    }

    /// The record of a request, byte for byte.
    ///
    /// Errors: the file was cut or became unreadable since it was read first.
    pub fn read(&mut self, request: &Request) -> Result<Vec<u8>, Problem> {
        let mut bytes = vec![0; request.origin.len as usize];
        let read = if request.copy == u64::MAX {
            match self.files.get(request.origin.file as usize) {
                Some(Some(file)) => file.read_exact_at(&mut bytes, request.origin.offset),
                _ => Err(std::io::Error::other("it can be read but once")),
            }
        } else {
            match &mut self.spool {
                Some(spool) => {
                    spool.seek(SeekFrom::Start(request.copy)).and_then(|_| spool.read_exact(&mut bytes))
                }
                None => Err(std::io::Error::other("it can be read but once")),
            }
        };
        read.map_err(|e| {
            Problem::failed(format!("a line of the audit log can't be read a second time: {e}"))
                .hint("the file was cut or replaced meanwhile: run it again, on a copy of the log")
        })?;
        Ok(bytes)
    }

    /// The record of a request and its event in the API server's own shape: byte for byte if it came in that, else made
    /// from the event.
    ///
    /// Errors: as [`Originals::event`].
    pub fn value(&mut self, request: &Request) -> Result<(Vec<u8>, Value), Problem> {
        let bytes = self.read(request)?;
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) if value.get("auditID").is_some() => Ok((bytes, value)),
            _ => {
                let value = self.event(request, shape)?;
                Ok((serde_json::to_vec(&value).unwrap_or_default(), value))
            }
        }
    }

    /// The event of a request, parsed anew.
    ///
    /// Errors: as [`Originals::read`]; and if another line is there now.
    pub fn event<T>(&mut self, request: &Request, take: impl FnOnce(&Event<'_>) -> T) -> Result<T, Problem> {
        let bytes = self.read(request)?;
        let mut take = Some(take);
        let mut taken = None;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let at = Origin { len: 0, ..request.origin };
            format::records(text, at, &mut |record, _| {
                if let (Record::Event(event), Some(take)) = (record, take.take()) {
                    taken = Some(take(&event));
                }
            });
        }
        taken.ok_or_else(|| {
            Problem::failed("the audit log changed while it was read").hint("run it again, on a copy of the log")
        })
    }
}
