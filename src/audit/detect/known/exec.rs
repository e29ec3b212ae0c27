//! A command in a container.

use super::is_system;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, On, Out, Severity, Spec, Verbs};

pub struct Exec;

const SPEC: Spec = Spec {
    id: "exec-in-pod",
    title: "Command run in a pod",
    techniques: "T1609",
    severity: Severity::High,
    says: "{who} [ran a command in or attached to|tried to run a command in or attach to] {what}{notes}.",
    false_positives: "Debugging by people on call; quell's own captures (user agent quell/…).",
    step: "Ask the person. What is typed into a shell is not in this log: capture the pod before it is restarted.",
    // Over a WebSocket it is a `get`, over SPDY a `create`.
    on: On::Resources(&[
        ("pods", "exec", Verbs::GET.or(Verbs::CREATE)),
        ("pods", "attach", Verbs::GET.or(Verbs::CREATE)),
    ]),
    by: Actors::ANY,
    needs: &[],
    cap: CAP,
};

impl Detection for Exec {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let severity =
            if look.actor.is_account() || is_system(look.namespace()) { Severity::High } else { Severity::Medium };
        let command = look.event.command().join(" ");
        out.hit(look, severity, &if command.is_empty() { String::new() } else { format!("`{}`", short(&command)) });
    }
}

/// Enough of a command for a sentence.
pub fn short(command: &str) -> String {
    let mut text: String = command.chars().take(120).collect();
    if text.len() < command.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, findings, line, none};

    #[test]
    fn by_websocket_and_by_spdy() {
        let exec = |verb| line(verb, "pods/exec").ns("shop").name("web-1").command(&["sh", "-c", "id; echo a b"]);
        each(
            SPEC.id,
            Severity::Medium,
            &[
                exec("get"),
                exec("create"),
                line("get", "pods/attach").ns("shop").name("web-1"),
                exec("get").account("shop", "web").denied(),
            ],
        );
        each(SPEC.id, Severity::High, &[exec("get").account("shop", "web"), exec("create").ns("kube-system")]);
        none(
            SPEC.id,
            &[line("get", "pods").ns("shop").name("web-1"), line("get", "pods/log").ns("shop").name("web-1")],
        );
        let found = findings(SPEC.id, &[exec("get")]);
        assert!(found[0].sentence.contains("`sh -c id; echo a b`"), "{}", found[0].sentence);
        let tried = findings(SPEC.id, &[exec("get").denied()]);
        assert!(tried[0].sentence.contains("tried to run") && tried[0].denied == 1, "{}", tried[0].sentence);
    }

    #[test]
    fn a_stream_that_is_still_open_has_begun() {
        let mut open = line("get", "pods/exec").ns("shop").name("web-1").set("/stage", "ResponseStarted");
        assert_eq!(findings(SPEC.id, &[open.clone()])[0].denied, 0);
        let ended = open.clone().set("/stage", "ResponseComplete");
        open.0["auditID"] = "same".into();
        let mut both = [open, ended];
        both[1].0["auditID"] = "same".into();
        assert_eq!(findings(SPEC.id, &both)[0].count, 1);
    }
}
