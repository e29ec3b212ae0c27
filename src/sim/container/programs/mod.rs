//! The programs of a small Linux, as far as somebody who looks around needs them, in BusyBox's words.

mod archive;
mod expression;
mod files;
mod find;
mod network;
mod processes;
mod system;
mod text;

pub use text::sha256;

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::files::Errno;
use super::shell::{Shell, Stream};

/// What a BusyBox executable holds here.
pub const BUSYBOX: &str = "\x7fELF busybox";

/// What a small Linux has.
pub const USUAL: &[&str] = &[
    "ash",
    "busybox",
    "cat",
    "chmod",
    "cp",
    "date",
    "df",
    "echo",
    "env",
    "false",
    "find",
    "grep",
    "head",
    "hostname",
    "id",
    "kill",
    "ls",
    "mkdir",
    "mount",
    "mv",
    "nc",
    "netstat",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "sh",
    "sha256sum",
    "sleep",
    "tail",
    "tar",
    "tee",
    "test",
    "touch",
    "tr",
    "true",
    "uname",
    "wc",
    "wget",
    "which",
    "whoami",
];

type Program = fn(&mut Call<'_, '_>) -> io::Result<i32>;

const TABLE: &[(&str, Program)] = &[
    ("cat", text::cat),
    ("chmod", files::chmod),
    ("cp", files::cp),
    ("curl", network::curl),
    ("date", system::date),
    ("df", system::df),
    ("echo", system::echo),
    ("env", system::env),
    ("false", |_| Ok(1)),
    ("find", find::find),
    ("grep", text::grep),
    ("head", text::head),
    ("hostname", system::hostname),
    ("id", system::id),
    ("kill", processes::kill),
    ("ls", files::ls),
    ("mkdir", files::mkdir),
    ("mount", system::mount),
    ("mv", files::mv),
    ("nc", network::nc),
    ("netstat", processes::netstat),
    ("printenv", system::env),
    ("printf", system::printf),
    ("ps", processes::ps),
    ("pwd", system::pwd),
    ("readlink", files::readlink),
    ("rm", files::rm),
    ("sha256sum", text::sha256sum),
    ("sleep", system::sleep),
    ("ss", processes::ss),
    ("tail", text::tail),
    ("tar", archive::tar),
    ("tee", text::tee),
    ("test", system::test),
    ("touch", files::touch),
    ("tr", text::tr),
    ("true", |_| Ok(0)),
    ("uname", system::uname),
    ("wc", text::wc),
    ("wget", network::wget),
    ("which", system::which),
    ("whoami", system::whoami),
];

/// Whether there is a program of that name here.
pub fn is_known(name: &str) -> bool {
    TABLE.iter().any(|(n, _)| *n == name)
}

/// Runs a program; its exit code.
pub fn run(shell: &mut Shell<'_>, name: &str, args: &[String]) -> i32 {
    let Some((_, program)) = TABLE.iter().find(|(n, _)| *n == name) else {
        shell.complain(&format!("{name}: applet not found"));
        return 127;
    };
    let (input, out, err) = (shell.stream(0), shell.stream(1), shell.stream(2));
    let mut call = Call { shell, name, args, input, out, err };
    // An output that nobody takes any more: SIGPIPE.
    program(&mut call).unwrap_or(141)
}

/// One run of a program.
pub struct Call<'a, 'c> {
    shell: &'a mut Shell<'c>,
    name: &'a str,
    args: &'a [String],
    input: Stream,
    out: Stream,
    err: Stream,
}

impl Call<'_, '_> {
    /// Arguments that are no options; those after `--` all are none.
    fn words(&self) -> Vec<String> {
        self.words_beside("")
    }

    /// The same where these letters' options have a value.
    fn words_beside(&self, valued: &str) -> Vec<String> {
        let (mut words, mut rest) = (Vec::new(), self.args.iter());
        while let Some(word) = rest.next() {
            if word == "--" {
                words.extend(rest.cloned());
                break;
            }
            if !word.starts_with('-') || word == "-" {
                words.push(word.clone());
            } else if word.len() == 2 && word.ends_with(|c| valued.contains(c)) {
                rest.next();
            }
        }
        words
    }

    /// Whether an option of one letter was given.
    fn has(&self, option: char) -> bool {
        let options = self.args.iter().take_while(|a| *a != "--");
        options.filter(|a| a.starts_with('-') && !a.starts_with("--")).any(|a| a.contains(option))
    }

    /// An option's value: `-n 5` or `-n5`.
    fn value(&self, option: &str) -> Option<&str> {
        let at = self.args.iter().position(|a| a.starts_with(option))?;
        match self.args.get(at)?.strip_prefix(option)? {
            "" => self.args.get(at + 1).map(String::as_str),
            rest => Some(rest),
        }
    }

    /// Everything from standard input.
    fn whole_input(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.input.read_to_end(&mut all);
        all
    }

    fn complain(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.err, "{}: {text}", self.name)
    }

    /// The content of a file; `-` is standard input.
    fn content(&mut self, path: &str) -> Result<Arc<Vec<u8>>, Errno> {
        if path == "-" {
            return Ok(Arc::new(self.whole_input()));
        }
        let mut all = Vec::new();
        if self.shell.own_stream(path).is_some() {
            let _ = self.shell.open(path)?.read_to_end(&mut all);
            return Ok(Arc::new(all));
        }
        self.shell.view(|v| v.read(&self.shell.cwd, path))
    }

    /// Does something with every file, or with standard input where none is named; the exit code. Files that can't be
    /// read are complained about in passing.
    fn each(
        &mut self,
        paths: &[String],
        mut act: impl FnMut(&mut Self, &str, &[u8]) -> io::Result<()>,
    ) -> io::Result<i32> {
        let usual = ["-".to_string()];
        let paths = if paths.is_empty() { &usual } else { paths };
        let mut code = 0;
        for path in paths {
            if self.shell.cancelled() {
                return Ok(137);
            }
            match self.content(path) {
                Ok(content) => act(self, path, &content)?,
                Err(why) => {
                    let opens = matches!(self.name, "cat" | "sha256sum");
                    let what = if opens { format!("can't open '{path}'") } else { path.clone() };
                    self.complain(&format!("{what}: {why}"))?;
                    code = 1;
                }
            }
        }
        Ok(code)
    }
}

/// `2026-11-23T03:12:45` of Unix seconds, in UTC.
fn date_time(seconds: i64) -> String {
    let ms = u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
    crate::collector::processes::parse::rfc3339(ms).chars().take(19).collect()
}

/// `Nov`, of a date.
fn month(date: &str) -> &'static str {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number: usize = date.get(5..7).and_then(|m| m.parse().ok()).unwrap_or(1);
    MONTHS.get(number.saturating_sub(1)).copied().unwrap_or("Jan")
}
