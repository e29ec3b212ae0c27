//! The last rung: the container's own sh, tar and sha256sum. They may lie, and the record says so.

use super::landing::{Facts, Landing, Notes, Paths, derived, earlier, told};
use super::receive::refused;
use super::{PodCapture, listing, text};
use crate::action::Done;
use crate::cluster::exec::{self, End, Listener, Place};
use crate::cluster::{Cx, Fault, Problem};
use crate::event::{Method, Op, Proof, Trust};

/// What is asked of a container's own tar. Some know no `--exclude`, so the shell spells out what is taken: all of `/`
/// but the paths that it is given, wherever links lead them; directories on the way to one of these are spelled out in
/// turn.
const ARCHIVE: &str = r#"
take() {
cd / || return 1
N='
'
X=$N
for e do
  X="$X$e$N"
  p=$(cd -P "$e" 2>/dev/null && pwd -P) && X="$X.$p$N"
done
set --
W=".$N"
while [ -n "$W" ]; do
  d=${W%%"$N"*}
  W=${W#*"$N"}
  for f in "$d"/* "$d"/.[!.]* "$d"/..?*; do
    [ -e "$f" ] || [ -L "$f" ] || continue
    case $X in
      *"$N$f$N"*) ;;
      *"$N$f/"*) if [ -d "$f" ] && [ ! -L "$f" ]; then W="$W$f$N"; else set -- "$@" "$f"; fi;;
      *) set -- "$@" "$f";;
    esac
  done
done
tar -cf - "$@"
}"#;

/// What sh alone can read of /proc, a line a fact; of the environment the names only. Every text of the target's stands
/// behind a word of ours, so that it can't look like another fact.
const PROCESSES: &str = r#"
lines() { while IFS= read -r l || [ -n "$l" ]; do echo "$1 $l"; done; }
take() {
while IFS= read -r l; do case $l in btime*) echo "boot $l";; esac; done </proc/stat
for d in /proc/[0-9]*; do
  [ -r "$d/stat" ] || continue
  echo "pid ${d#/proc/}"
  lines stat <"$d/stat"
  lines status <"$d/status"
  tr '\000\n' '\n ' <"$d/cmdline" | lines arg
  tr '\000\n' '\n ' <"$d/environ" | while IFS= read -r l; do case $l in *=*) echo "env ${l%%=*}";; esac; done
  lines cgroup <"$d/cgroup"
  echo "exe $(readlink "$d/exe")"
  echo "hash $(sha256sum <"$d/exe")"
  echo "cwd $(readlink "$d/cwd")"
  echo "root $(readlink "$d/root")"
  for f in "$d"/fd/*; do echo "fd ${f##*/} $(readlink "$f")"; done
done 2>/dev/null
for t in tcp tcp6 udp udp6 raw raw6 unix; do lines "net $t" <"/proc/net/$t"; done 2>/dev/null
echo end
}"#;

/// Runs `take`, its output to ours and its hash to standard error; then waits for our word that all of it arrived, or
/// for the end of the connection, for the end of an exec's output proves nothing. The pipe to `cat` is the shell's own:
/// a process that is not root can open it again by its number, which it can't with the runtime's.
const RUN: &str = r#"
has() { command -v "$1" >/dev/null 2>&1; }
if has tee && has sha256sum && has cat && [ -e /dev/fd/0 ]
then { { { take "$@"; echo "quell-exit $?" >&2; } | tee /dev/fd/3 | sha256sum >&2; } 3>&1 | cat; }
else take "$@"; echo "quell-exit $?" >&2
fi
echo quell-end >&2
read -r _ || :
"#;

/// Takes one artifact by the container's own programs; `why` says what kept us from better.
pub(super) async fn by_exec(with: &PodCapture, cx: &Cx, op: &Op, why: &str) -> Result<Done, Problem> {
    let archive = text(op, "kind") == "filesystem";
    let paths = Paths::of(cx, op, false);
    if let Some(done) = earlier(cx, &paths) {
        return Ok(done);
    }
    let mut landing = Landing::new(cx, op, paths)?;
    let argv = arguments(op, archive, landing.notes());
    let place = Place {
        namespace: op.object.namespace.as_deref().unwrap_or_default(),
        pod: &op.object.name,
        container: text(op, "container"),
    };
    let mut target = Target { cx, landing, archive, said: Said::default(), tail: Vec::new() };
    let ended = exec::exec(&cx.client, place, &argv, with.limits(), &mut target).await;
    let Target { mut landing, said, tail, .. } = target;
    if let Err(problem) = &ended
        && matches!(problem.fault, Fault::Refused | Fault::NotFound | Fault::Unreachable)
    {
        return refused(op, problem);
    }
    // A shell that is not there, or one without tar: nothing was taken, and trying again brings nothing.
    if landing.size() == 0
        && let Ok(ended) = &ended
        && (matches!(ended.end, End::Failure { .. }) || said.ended)
    {
        let first = said.lines.iter().find(|l| !l.trim().is_empty()).cloned();
        return Ok(nothing(op, why, &first.unwrap_or_else(|| ended.to_string())));
    }
    let over = landing.over();
    let (size, received) = landing.received();
    let cut = if over {
        Some("the limit of bytes was met".to_string())
    } else if said.hash.as_ref().is_some_and(|hash| *hash != received) {
        Some(format!(
            "the container computed SHA-256 {}, but of what arrived ({size} bytes) it is {received}",
            said.hash.clone().unwrap_or_default()
        ))
    } else if !said.ended {
        let how = ended.as_ref().map_or_else(|problem| problem.message.clone(), ToString::to_string);
        Some(format!("the stream ended after {size} bytes: {how}"))
    } else if !archive && !tail.ends_with(b"\nend\n") {
        Some(format!("the list ended after {size} bytes without its last line"))
    } else {
        None
    };
    for line in said.lines {
        landing.notes().warn(&line);
    }
    if archive && let Some(code) = said.exit.filter(|code| *code != 0) {
        landing.notes().warn(&format!("tar ended with exit code {code}: some files changed or could not be read"));
    }
    let facts = Facts {
        method: method(why, argv),
        size_source: None,
        sha256_source: said.hash.filter(|_| cut.is_none()),
        cut: cut.clone(),
    };
    let method = facts.method.clone();
    let (artifact, summary) = landing.finish(cx, op, facts)?;
    if !archive {
        listed(cx, op, &artifact, &method)?;
    }
    let unreadable = u64::from(archive && artifact.complete && said.exit.is_some_and(|code| code > 1));
    let done = told(&artifact, summary.as_ref(), unreadable);
    match cut {
        Some(cut) if !over => with.again(op, cut, done),
        _ => Ok(done),
    }
}

fn arguments(op: &Op, archive: bool, notes: &mut Notes) -> Vec<String> {
    let script = format!("{}\n{RUN}", if archive { ARCHIVE } else { PROCESSES });
    let mut argv: Vec<String> = ["sh", "-c", &script, "quell"].map(String::from).into();
    if archive {
        let kernel = ["/proc", "/sys", "/dev"].map(|p| (p, "the kernel's own, not the container's files"));
        let pairs = op.detail["exclude"].as_array().into_iter().flatten();
        let asked = pairs.filter_map(|e| Some((e[0].as_str()?, e[1].as_str()?)));
        for (path, why) in kernel.into_iter().chain(asked) {
            argv.push(format!("./{}", path.trim_matches('/')));
            notes.leave_out(path, why);
        }
    }
    argv
}

fn method(why: &str, argv: Vec<String>) -> Method {
    Method {
        rung: "exec".into(),
        trust: Trust::TargetSupplied,
        reason: format!(
            "the container's own programs, which may lie, because {why}; this started processes in the container"
        ),
        argv,
        tool: None,
    }
}

/// The list that was received, in the form that the collector would have given it.
fn listed(cx: &Cx, op: &Op, raw: &crate::event::Artifact, method: &Method) -> Result<(), Problem> {
    let path = raw.path.replace(".processes.txt", ".processes.json");
    let full = cx.store.root().join(&raw.path);
    if raw.size > listing::MAX {
        return Ok(());
    }
    let content = std::fs::read(&full).map_err(|e| Problem::io("can't read the artifact", &full, &e))?;
    let report = listing::parse(&String::from_utf8_lossy(&content));
    let mut bytes = serde_json::to_vec_pretty(&report).map_err(|e| Problem::internal(e.to_string()))?;
    bytes.push(b'\n');
    let title = format!("processes of container {}, from {}", text(op, "container"), raw.path);
    let times = (raw.started, cx.clock.now());
    cx.store.put(&path, &bytes, |path, size, sha256| {
        derived(op, "processes", title, "application/json", method, times, (path, size, sha256), raw.truncated.clone())
    })?;
    Ok(())
}

/// No shell, no tar: said, and not counted as taken.
fn nothing(op: &Op, why: &str, answer: &str) -> Done {
    let text = format!(
        "the {} of container {} can't be taken: {why}; and its own programs can't do it either: {answer}",
        text(op, "kind"),
        text(op, "container"),
    );
    Done::told(Proof::Unproved(text), serde_json::Value::Null)
}

/// What the script said on standard error.
#[derive(Default)]
struct Said {
    line: Vec<u8>,
    hash: Option<String>,
    exit: Option<i32>,
    ended: bool,
    lines: Vec<String>,
    answered: bool,
}

impl Said {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < 4096 {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            let hash = line.strip_suffix("  -").filter(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit()));
            if let Some(hash) = hash {
                self.hash = Some(hash.to_string());
            } else if let Some(code) = line.strip_prefix("quell-exit ") {
                self.exit = code.parse().ok();
            } else if line == "quell-end" {
                self.ended = true;
            } else if self.lines.len() < 500 {
                self.lines.push(line);
            }
        }
    }
}

/// A stream of the target's own making.
struct Target<'a> {
    cx: &'a Cx,
    landing: Landing,
    archive: bool,
    said: Said,
    /// The last bytes.
    tail: Vec<u8>,
}

impl Listener for Target<'_> {
    fn stdout(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let last = &bytes[bytes.len().saturating_sub(1024)..];
        self.tail.extend_from_slice(last);
        let surplus = self.tail.len().saturating_sub(1024);
        self.tail.drain(..surplus);
        self.landing.data(self.cx, bytes)
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.said.take(bytes);
    }

    /// Standard error may overtake standard output: the script may go once what it announced is here.
    fn reply(&mut self) -> Option<&'static [u8]> {
        let here = self.said.ended
            && match &self.said.hash {
                Some(hash) => *hash == self.landing.received().1,
                None if self.archive => self.tail.len() == 1024 && self.tail.iter().all(|b| *b == 0),
                None => self.tail.ends_with(b"\nend\n"),
            };
        (here && !std::mem::replace(&mut self.said.answered, true)).then_some(crate::collector::wire::ACKNOWLEDGED)
    }
}
