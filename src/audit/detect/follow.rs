//! What answers a finding: the runbook that does, with its inputs, as a command that can be pasted.
//!
//! Names come from a log that strangers write: a command is only made of what needs no thought in a shell, else the
//! sentence alone says what to do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::session::Session;
use super::spec::Severity;
use super::tokens;

/// Commands for one finding.
const MAX_OF_ONE: usize = 6;
/// Commands for all findings together.
const MAX_OF_ALL: usize = 20;
/// Paths of a log that a command repeats.
const MAX_LOGS: usize = 4;

/// A step that answers a finding, and that nobody has taken yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// Why.
    pub why: String,
    /// The runbook, or `audit` for a question to the log.
    pub runbook: String,
    /// Its inputs.
    pub inputs: BTreeMap<String, String>,
    /// To be pasted into a shell; None where a name holds what does not belong into one.
    pub command: Option<String>,
    /// The detections whose findings it answers.
    pub answers: Vec<String>,
}

/// What answers these findings, the gravest first, each once. `logs`: paths as the responder gave them.
pub fn follow(findings: &[Finding], sessions: &[Session], logs: &[String]) -> Vec<Follow> {
    let mut all: Vec<Follow> = Vec::new();
    for finding in findings.iter().filter(|f| f.severity > Severity::Low) {
        for step in one(finding, sessions, logs) {
            let known = all.iter().position(|f| (&f.runbook, &f.inputs) == (&step.runbook, &step.inputs));
            match known {
                Some(at) if all[at].answers.contains(&finding.id) => {}
                Some(at) => all[at].answers.push(finding.id.clone()),
                None if all.len() < MAX_OF_ALL => all.push(step),
                None => {}
            }
        }
    }
    all
}

/// What answers one finding.
pub fn one(finding: &Finding, sessions: &[Session], logs: &[String]) -> Vec<Follow> {
    let mut all = Vec::new();
    let mut push = |why: String, runbook: &str, inputs: &[(&str, &str)]| {
        if all.len() < MAX_OF_ONE {
            all.push(step(finding, why, runbook, inputs, logs));
        }
    };
    // What was only tried left nothing behind at its object.
    let done = finding.denied + finding.failed < finding.count;
    for object in finding.objects.iter().filter(|_| done) {
        match Target::of(object, &finding.id, sessions) {
            Some(Target::Pod(namespace, pod)) if !removes(&finding.id) => push(
                format!("capture and isolate pod {namespace}/{pod}"),
                "pod-compromise",
                &[("namespace", namespace), ("pod", pod)],
            ),
            Some(Target::Secret(namespace, secret)) if !removes(&finding.id) => push(
                format!("take Secret {namespace}/{secret} for leaked: rotate it, and see who else read it"),
                "exposed-secret",
                &[("namespace", namespace), ("secret", secret)],
            ),
            Some(Target::Node(node)) => {
                push(
                    format!("unless node {node} is still in your hands, end it"),
                    "node-compromise",
                    &[("node", node)],
                );
            }
            Some(Target::Account(account)) => {
                push(format!("see what was done with tokens of {account}"), "audit-review", &[("subject", account)]);
            }
            Some(Target::Session(id)) => {
                push("see all that was done with this token".into(), "audit-review", &[("session", id)]);
            }
            _ => {}
        }
    }
    let user = finding.subject.user.as_str();
    match user.strip_prefix("system:node:") {
        Some(node) => {
            push(format!("unless node {node} is still in your hands, end it"), "node-compromise", &[("node", node)])
        }
        // There is nothing to take from who has no name.
        None if user.is_empty() || user == "system:anonymous" => {}
        None if done => push(
            format!("unless {user} explains it, find how they came, take their rights and see what they left"),
            "api-access",
            &[("subject", user)],
        ),
        None => push(format!("see what {user} was allowed"), "audit-review", &[("subject", user)]),
    }
    all
}

/// Detections of what is gone: there is nothing to capture.
fn removes(id: &str) -> bool {
    matches!(id, "mass-delete" | "evidence-removed")
}

/// What an object's text names.
enum Target<'a> {
    Pod(&'a str, &'a str),
    Secret(&'a str, &'a str),
    Node(&'a str),
    Account(&'a str),
    Session(&'a str),
}

impl<'a> Target<'a> {
    /// From `pods/exec shop/web-1`, as [`super::Look::what`] writes it; some detections write the bare name.
    fn of(object: &'a str, id: &str, sessions: &'a [Session]) -> Option<Target<'a>> {
        if id == tokens::ID {
            let session = sessions.iter().find(|s| s.id == object);
            return Some(match session.and_then(|s| s.pod.as_ref()) {
                Some(pod) => Target::Pod(&pod.namespace, &pod.name),
                None => Target::Session(object.split_once('=').filter(|(kind, _)| *kind == "JTI")?.1),
            });
        }
        match (id, object.split_once(' ')) {
            ("secrets-read-in-a-row", None) => object.split_once('/').map(|(ns, name)| Target::Secret(ns, name)),
            ("node-changed", None) => Some(Target::Node(object)),
            (_, Some((kind, name))) => {
                let pair = name.split_once('/');
                match kind.split('/').next()? {
                    "pods" => pair.map(|(ns, name)| Target::Pod(ns, name)),
                    "secrets" => pair.map(|(ns, name)| Target::Secret(ns, name)),
                    "nodes" => Some(Target::Node(name)),
                    "serviceaccounts" if kind.ends_with("/token") => Some(Target::Account(name)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn step(finding: &Finding, why: String, runbook: &str, inputs: &[(&str, &str)], logs: &[String]) -> Follow {
    Follow {
        command: command(runbook, inputs, logs),
        why,
        runbook: runbook.into(),
        inputs: inputs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        answers: vec![finding.id.clone()],
    }
}

/// `quell run RUNBOOK --set …`; None if a value may not stand in one.
fn command(runbook: &str, inputs: &[(&str, &str)], logs: &[String]) -> Option<String> {
    let mut text = format!("quell run {runbook}");
    for (name, value) in inputs {
        match *name {
            // A namespace and names are DNS labels: anything else is no object of the cluster's.
            "namespace" | "pod" | "secret" | "node" if !dns(value) => return None,
            "namespace" => text.push_str(&format!(" --namespace {value}")),
            _ => text.push_str(&format!(" --set {name}={}", quoted(value)?)),
        }
    }
    // Of these runbooks one asks no log.
    let logs = if runbook == "node-compromise" || logs.len() > MAX_LOGS { &[] } else { logs };
    for log in logs {
        // A list's values lie between commas.
        match quoted(log).filter(|_| !log.contains(',') && log != "-") {
            Some(log) => text.push_str(&format!(" --set audit-log={log}")),
            None => break,
        }
    }
    Some(text)
}

fn dns(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    !text.is_empty() && text.len() <= 253 && !text.starts_with(['-', '.']) && text.bytes().all(inner)
}

/// As one word of a POSIX shell; None for what is not printable ASCII.
fn quoted(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+=".contains(&b);
    match text {
        "" => None,
        _ if text.bytes().all(plain) => Some(text.to_owned()),
        _ if text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) => {
            Some(format!("'{}'", text.replace('\'', r"'\''")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{line, report};

    fn commands(lines: &[crate::audit::detect::plant::Line], logs: &[&str]) -> Vec<String> {
        let report = report(lines);
        let logs: Vec<String> = logs.iter().map(|l| (*l).to_owned()).collect();
        follow(&report.findings, &report.sessions, &logs).into_iter().filter_map(|f| f.command).collect()
    }

    #[test]
    fn a_finding_is_answered_by_the_runbook_for_what_it_is_about() {
        let exec = line("get", "pods/exec").ns("shop").name("db-0").command(&["cat", "/var/run/secrets/x"]);
        let all = commands(&[exec], &["/var/log/audit.log"]);
        assert!(
            all.contains(
                &"quell run pod-compromise --namespace shop --set pod=db-0 --set audit-log=/var/log/audit.log".into()
            ),
            "{all:?}"
        );
        assert!(
            all.contains(
                &"quell run api-access --set subject=jane@example.org --set audit-log=/var/log/audit.log".into()
            ),
            "{all:?}"
        );
        let read = line("get", "secrets").ns("shop").name("db").account("shop", "web").agent("curl/8");
        let all = commands(&[read], &[]);
        assert!(all.contains(&"quell run exposed-secret --namespace shop --set secret=db".into()), "{all:?}");
        let proxy = line("get", "nodes/proxy").name("n1");
        assert!(commands(&[proxy], &["a"]).contains(&"quell run node-compromise --set node=n1".into()));
    }

    #[test]
    fn the_token_of_a_pod_leads_to_the_pod() {
        let call = |at: i64| {
            line("get", "configmaps").ns("shop").name("c").account("shop", "web").pod("one", "web-1", "n1").at(at)
        };
        let all = commands(&[call(0), call(5).ip("203.0.113.9"), call(9)], &[]);
        assert!(all.contains(&"quell run pod-compromise --namespace shop --set pod=web-1".into()), "{all:?}");
    }

    #[test]
    fn what_was_only_tried_leads_to_who_tried() {
        let tried = line("get", "pods/exec").ns("shop").name("db-0").command(&["cat", "/var/run/secrets/x"]).denied();
        let all = commands(&[tried], &[]);
        assert!(all.iter().all(|c| c.starts_with("quell run audit-review --set subject=jane")), "{all:?}");
    }

    #[test]
    fn nothing_that_a_shell_would_obey_comes_from_the_log() {
        let hostile = ["$(reboot)", "a'; reboot; '", "a b", "-rf", "`id`", "a\nb", "a\u{1b}[2J", "ø", "a|b", "~", "*"];
        for name in hostile {
            let exec = line("get", "pods/exec").ns("shop").name(name).command(&["cat", "/var/run/secrets/x"]);
            let all = commands(&[exec.user(name)], &[]);
            assert!(!all.iter().any(|c| c.contains("pod-compromise")), "{name:?}: {all:?}");
            for command in all {
                assert!(command.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{command:?}");
                // A shell makes the very name of it again, and nothing else.
                let output = std::process::Command::new("sh")
                    .args(["-c", &format!("quell() {{ printf '%s\\n' \"$@\"; }}; {command}")])
                    .output()
                    .unwrap();
                let words = String::from_utf8(output.stdout).unwrap();
                assert_eq!(words, format!("run\napi-access\n--set\nsubject={name}\n"), "{command:?}");
            }
        }
    }
}
