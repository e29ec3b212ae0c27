//! Running one program of the responder's machine: argv only, no shell, an empty environment but for what was named,
//! bounded output, bounded time.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::Problem;

/// How long its output may stay open after the program itself ended, when it left something running.
const LINGER: Duration = Duration::from_secs(5);

/// A program to run.
pub(super) struct Program<'a> {
    pub argv: &'a [String],
    /// Names of variables that it is given, beside PATH.
    pub env: &'a [String],
    pub cwd: Option<&'a str>,
    pub timeout: Duration,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// None: it was killed for taking longer than its time.
    pub status: Option<ExitStatus>,
    /// Something that it started still held its output open.
    pub lingered: bool,
}

impl Ended {
    /// `exit status 3`, `killed by signal 9`, `killed after its time`.
    pub fn text(&self) -> String {
        use std::os::unix::process::ExitStatusExt;
        match self.status {
            None => "killed for taking longer than its time".into(),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, Some(signal)) => format!("killed by signal {signal}"),
                _ => "an unknown status".into(),
            },
        }
    }

    pub fn success(&self) -> bool {
        self.status.is_some_and(|s| s.success())
    }
}

/// Takes each piece of output.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Problem> + Send + 'a;

impl Program<'_> {
    /// What stands in the way of running it, for the plan.
    pub fn blockers(&self) -> Vec<String> {
        let mut blockers = Vec::new();
        match self.argv.first().map(String::as_str) {
            None | Some("") => blockers.push("`argv` must name a program".into()),
            Some(program) if self.find(program).is_none() => {
                blockers.push(format!("there is no program {program:?} on this machine: install it or give its path"));
            }
            Some(_) => {}
        }
        if self.argv.iter().any(|a| a.contains('\0')) {
            blockers.push("`argv` holds a NUL character".into());
        }
        for name in self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                blockers.push(format!("`env` names variables, it does not set them: {:?}", name.split('=').next()));
            }
        }
        if let Some(cwd) = self.cwd
            && !Path::new(cwd).is_dir()
        {
            blockers.push(format!("`cwd` {cwd:?} is no folder on this machine"));
        }
        if self.timeout.is_zero() {
            blockers.push("`timeout` must be at least a second".into());
        }
        blockers
    }

    /// Named variables that are not set here.
    pub fn unset(&self) -> Vec<String> {
        self.env.iter().filter(|name| std::env::var_os(name).is_none()).cloned().collect()
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        if program.contains('/') {
            let path = self.cwd.map(Path::new).unwrap_or(Path::new("")).join(program);
            return path.is_file().then_some(path);
        }
        std::env::split_paths(&path()?).map(|dir| dir.join(program)).find(|path| path.is_file())
    }

    /// Runs it to its end. Both outputs are read to their end, so that it never waits for a reader.
    ///
    /// Errors: it can't be started, or a sink failed; it is killed then, with all that it started.
    pub async fn run(&self, stdout: &mut Sink<'_>, stderr: &mut Sink<'_>) -> Result<Ended, Problem> {
        self.run_with(None, stdout, stderr).await
    }

    /// As [`Program::run`], with something on its standard input: the way for what may stand in no argument.
    pub async fn run_with(
        &self,
        stdin: Option<&[u8]>,
        stdout: &mut Sink<'_>,
        stderr: &mut Sink<'_>,
    ) -> Result<Ended, Problem> {
        let (program, arguments) =
            self.argv.split_first().ok_or_else(|| Problem::usage("`argv` must name a program"))?;
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(path().map(|path| (OsString::from("PATH"), path)))
            .envs(self.env.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?))))
            .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it starts can be killed with it and Ctrl-C at the terminal is quell's.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(cwd) = self.cwd {
            command.current_dir(cwd);
        }
        let mut child = command.spawn().map_err(|e| {
            Problem::failed(format!("can't start {program:?}: {e}")).hint("is it installed and executable?")
        })?;
        let mut group = Group(child.id());
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Problem::internal("a program without outputs"));
        };
        let pipe = child.stdin.take();
        let feeding = async {
            if let (Some(mut pipe), Some(bytes)) = (pipe, stdin) {
                // A program that does not read its input may close it: its status tells.
                let _ = pipe.write_all(bytes).await;
                let _ = pipe.shutdown().await;
            }
            Ok(())
        };
        let reading = async { tokio::try_join!(drain(out, stdout), drain(err, stderr), feeding).map(|_| ()) };
        tokio::pin!(reading);
        let mut read = None;
        let deadline = tokio::time::sleep(self.timeout);
        tokio::pin!(deadline);
        let status = loop {
            tokio::select! {
                biased;
                status = child.wait() => {
                    break Some(status.map_err(|e| Problem::failed(format!("can't wait for {program:?}: {e}")))?);
                }
                result = &mut reading, if read.is_none() => {
                    result?;
                    read = Some(());
                }
                () = &mut deadline => break None,
            }
        };
        if status.is_none() {
            group.kill();
            let _ = child.wait().await;
        }
        let mut lingered = false;
        if read.is_none() {
            match tokio::time::timeout(LINGER, &mut reading).await {
                Ok(result) => result?,
                Err(_) => lingered = true,
            }
        }
        group.0 = None;
        Ok(Ended { status, lingered })
    }
}

fn path() -> Option<OsString> {
    std::env::var_os("PATH")
}

async fn drain(mut from: impl AsyncRead + Unpin, sink: &mut Sink<'_>) -> Result<(), Problem> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = from.read(&mut buffer).await.map_err(|e| Problem::failed(format!("can't read its output: {e}")))?;
        if n == 0 {
            return Ok(());
        }
        sink(&buffer[..n])?;
    }
}

/// Kills the program's whole group when dropped before its end.
struct Group(Option<u32>);

impl Group {
    fn kill(&mut self) {
        let pid = self.0.take().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(argv: &[&str], env: &[&str], timeout: u64) -> (Ended, Vec<u8>, Vec<u8>) {
        let argv: Vec<String> = argv.iter().map(|a| (*a).into()).collect();
        let env: Vec<String> = env.iter().map(|a| (*a).into()).collect();
        let program = Program { argv: &argv, env: &env, cwd: None, timeout: Duration::from_millis(timeout) };
        assert_eq!(program.blockers(), Vec::<String>::new());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ended = program
            .run(
                &mut |b| {
                    out.extend_from_slice(b);
                    Ok(())
                },
                &mut |b| {
                    err.extend_from_slice(b);
                    Ok(())
                },
            )
            .await
            .unwrap();
        (ended, out, err)
    }

    #[tokio::test]
    async fn only_named_variables_reach_it_and_no_shell_reads_its_arguments() {
        let (ended, out, _) = run(&["env"], &["CARGO_PKG_NAME"], 10_000).await;
        assert!(ended.success());
        let text = String::from_utf8(out).unwrap();
        let mut names: Vec<_> = text.lines().filter_map(|l| l.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["CARGO_PKG_NAME", "PATH"]);
        let (_, out, _) = run(&["echo", "$(id) `id` ${HOME}; id"], &[], 10_000).await;
        assert_eq!(out, b"$(id) `id` ${HOME}; id\n");
    }

    #[tokio::test]
    async fn it_and_its_children_are_killed_when_the_time_is_over() {
        let begun = std::time::Instant::now();
        let (ended, out, _) = run(&["sh", "-c", "echo begun; sleep 60 & sleep 60"], &[], 300).await;
        assert!(ended.status.is_none() && !ended.lingered, "{ended:?}");
        assert_eq!(out, b"begun\n");
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn its_status_and_both_outputs_are_kept() {
        let (ended, out, err) = run(&["sh", "-c", "echo a; echo b >&2; exit 3"], &[], 10_000).await;
        assert_eq!(
            (ended.text().as_str(), out.as_slice(), err.as_slice()),
            ("exit status 3", &b"a\n"[..], &b"b\n"[..])
        );
        let missing = ["no-such-program-here".to_owned()];
        let program = Program { argv: &missing, env: &[], cwd: None, timeout: LINGER };
        assert!(program.blockers()[0].contains("no-such-program-here"));
    }
}
