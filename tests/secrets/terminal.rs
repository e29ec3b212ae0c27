//! A person at a terminal: util-linux `script` gives the program one, and what it asks is answered as it asks.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    said: Receiver<Vec<u8>>,
    /// All that was printed, and how much of it was waited for already.
    text: String,
    seen: usize,
}

impl Terminal {
    /// Starts the command, with its environment and folder, on a terminal of its own.
    pub fn run(command: &Command) -> Terminal {
        let quoted = |part: &std::ffi::OsStr| format!("'{}'", part.to_string_lossy().replace('\'', r"'\''"));
        let line: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
        let mut script = Command::new("script");
        script.args(["-qefc", &line.join(" "), "/dev/null"]).env_clear().env("TERM", "xterm").env("SHELL", "/bin/sh");
        for (name, value) in command.get_envs() {
            script.env(name, value.unwrap_or_default());
        }
        script.current_dir(command.get_current_dir().unwrap());
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("util-linux has `script`");
        let (send, said) = channel();
        let mut out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut piece) {
                if send.send(piece[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let keys = child.stdin.take().unwrap();
        Terminal { child, keys, said, text: String::new(), seen: 0 }
    }

    /// Waits until it asks that, and answers.
    pub fn at(&mut self, question: &str, keys: &str) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(at) = self.text[self.seen..].find(question) {
                self.seen += at + question.len();
                break;
            }
            match self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.text.push_str(&String::from_utf8_lossy(&piece)),
                Err(RecvTimeoutError::Timeout) => panic!("it never asked {question:?}:\n{}", self.text),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended and never asked {question:?}:\n{}", self.text),
            }
        }
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits for its end: all that it said.
    pub fn end(mut self) -> String {
        while let Ok(piece) = self.said.recv() {
            self.text.push_str(&String::from_utf8_lossy(&piece));
        }
        self.child.wait().unwrap();
        self.text
    }
}
