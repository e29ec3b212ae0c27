//! What a file descriptor of a simulated process is.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::files::Kind;
use super::super::state::State;

/// More bytes between two programs of a pipeline are refused.
const MAX_PIPE: usize = 1 << 30;

/// An open file.
#[derive(Clone)]
pub enum Stream {
    /// `/dev/null`.
    Null,
    /// An exec's standard input.
    In(Arc<Mutex<Box<dyn Read + Send>>>),
    /// An exec's standard output or error.
    Out(Arc<Mutex<Box<dyn Write + Send>>>),
    /// Bytes, and how many of them were read.
    Bytes(Arc<Mutex<(Arc<Vec<u8>>, usize)>>),
    /// A pipe's writing end.
    Pipe(Arc<Mutex<Vec<u8>>>),
    /// A file that is written, by its real path.
    File(Arc<Mutex<State>>, String),
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stream {
    /// To be read.
    pub fn bytes(content: Arc<Vec<u8>>) -> Stream {
        Stream::Bytes(Arc::new(Mutex::new((content, 0))))
    }

    /// A pipe, and what is written to it.
    pub fn pipe() -> (Stream, Arc<Mutex<Vec<u8>>>) {
        let held = Arc::new(Mutex::new(Vec::new()));
        (Stream::Pipe(held.clone()), held)
    }

    /// What was written to a pipe.
    pub fn written(held: &Mutex<Vec<u8>>) -> Vec<u8> {
        std::mem::take(&mut *lock(held))
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::In(inner) => lock(inner).read(into),
            Stream::Bytes(held) => {
                let mut held = lock(held);
                let read = held.0.get(held.1..).unwrap_or_default().read(into)?;
                held.1 += read;
                Ok(read)
            }
            _ => Ok(0),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Out(inner) => lock(inner).write_all(bytes)?,
            Stream::Pipe(held) => {
                let mut held = lock(held);
                if held.len().saturating_add(bytes.len()) > MAX_PIPE {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                held.extend_from_slice(bytes);
            }
            Stream::File(state, path) => {
                let now = super::super::now();
                let mut state = lock(state);
                // Removed meanwhile: the bytes go where nobody sees them.
                if let Some(node) = state.root.at_mut(path)
                    && let Kind::File(content) = &mut node.kind
                {
                    Arc::make_mut(content).extend_from_slice(bytes);
                    (node.mtime, node.ctime) = (now, now);
                }
            }
            Stream::Null => {}
            Stream::In(_) | Stream::Bytes(_) => return Err(io::Error::other("Bad file descriptor")),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Stream::Out(inner) = self { lock(inner).flush() } else { Ok(()) }
    }
}

/// Output to a terminal: lines end in CR LF.
pub struct Screen(pub Box<dyn Write + Send>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(text) => {
                    self.0.write_all(text)?;
                    self.0.write_all(b"\r\n")?;
                }
                None => self.0.write_all(line)?,
            }
        }
        self.0.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Input from a terminal, as its driver gives it: line by line, echoed, with erase, ^C, ^D and ^U.
pub struct Keyboard {
    /// What is typed.
    pub from: Box<dyn Read + Send>,
    /// Where it is echoed.
    pub echo: Stream,
    /// Finished, and not read yet.
    pub ready: Vec<u8>,
}

impl Keyboard {
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let (mut line, mut byte) = (Vec::new(), [0; 1]);
        loop {
            if self.from.read(&mut byte)? == 0 {
                return Ok(line);
            }
            let [key] = byte;
            match key {
                b'\r' | b'\n' => {
                    self.echo.write_all(b"\n")?;
                    line.push(b'\n');
                    return Ok(line);
                }
                3 => {
                    self.echo.write_all(b"^C\n")?;
                    return Ok(b"\n".to_vec());
                }
                4 => return Ok(line),
                8 | 127 => {
                    if line.pop().is_some() {
                        self.echo.write_all(b"\x08 \x08")?;
                    }
                }
                21 => {
                    self.echo.write_all("\x08 \x08".repeat(line.len()).as_bytes())?;
                    line.clear();
                }
                _ => {
                    line.push(key);
                    self.echo.write_all(&byte)?;
                }
            }
        }
    }
}

impl Read for Keyboard {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            self.ready = self.line()?;
        }
        let mut rest: &[u8] = &self.ready;
        let read = rest.read(into)?;
        self.ready.drain(..read);
        Ok(read)
    }
}
