//! Files copied out of or into a container: what `kubectl cp` does is an exec of tar.

use super::exec::short;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, On, Out, Severity, Spec, Verbs};

pub struct ExecCopy;

const SPEC: Spec = Spec {
    id: "exec-copies-files",
    title: "Files copied out of or into a pod",
    techniques: "T1005 T1041 T1105",
    severity: Severity::Medium,
    says: "{who} [copied|tried to copy] files by an exec in {what}{notes}.",
    false_positives: "`kubectl cp` by people who debug or move data.",
    step: "Ask what was taken. How much went over the wire is not in this log; what was put in is still in the container: \
        capture it.",
    on: On::Resources(&[("pods", "exec", Verbs::GET.or(Verbs::CREATE))]),
    by: Actors::ANY,
    needs: &[],
    cap: CAP,
};

impl Detection for ExecCopy {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let command = look.event.command().join(" ");
        if let Some(severity) = copies(&command) {
            out.hit(look, severity, &format!("`{}`", short(&command)));
        }
    }
}

fn copies(command: &str) -> Option<Severity> {
    let words: Vec<&str> =
        command.split(|c: char| c.is_whitespace() || ";|&'\"()".contains(c)).filter(|w| !w.is_empty()).collect();
    let program = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    for (i, word) in words.iter().enumerate() {
        let rest = &words[i + 1..];
        match program(word).as_str() {
            // To or from the stream, which is what `-` or no file at all means.
            "tar" => {
                let mode = rest.first().copied().unwrap_or_default().trim_start_matches('-');
                let moves = mode.contains(['c', 'x']) || rest.contains(&"--create") || rest.contains(&"--extract");
                if moves && (rest.contains(&"-") || !mode.contains('f')) {
                    return Some(Severity::Medium);
                }
            }
            "base64" | "xxd" | "dd" | "cpio" if rest.iter().any(|w| w.contains('/')) => return Some(Severity::Medium),
            "mysqldump" | "pg_dump" | "pg_dumpall" | "mongodump" => return Some(Severity::Medium),
            "cat" if rest.iter().any(|w| w.starts_with('/')) => return Some(Severity::Low),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn kubectl_cp_both_ways() {
        let exec = |argv: &[&str]| line("get", "pods/exec").ns("shop").name("web-1").command(argv);
        each(
            SPEC.id,
            Severity::Medium,
            &[
                exec(&["tar", "cf", "-", "/data"]),
                exec(&["tar", "-xmf", "-", "-C", "/tmp"]),
                exec(&["sh", "-c", "pg_dump app | base64"]),
            ],
        );
        each(SPEC.id, Severity::Low, &[exec(&["cat", "/etc/hosts"])]);
        none(
            SPEC.id,
            &[exec(&["tar", "--version"]), exec(&["sh"]), exec(&["ls", "/start"]), exec(&["tar", "tf", "/x.tar"])],
        );
    }
}
