//! What went wrong, to what, and what to do next.

/// The kinds that decide the exit code and whether the engine tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Bad input from the command line or a file.
    Usage,
    /// A runbook that does not check.
    Runbook,
    /// A guard refused: protected namespace, wrong cluster, target replaced, two matches, missing rights.
    Refused,
    /// Somebody has to approve first, or declined.
    Approval,
    /// The step failed.
    Failed,
    /// Evidence does not verify.
    Verification,
    /// Somebody else works on it.
    Locked,
    /// The cluster can't be reached, or does not know us.
    Unreachable,
    /// Interrupted from outside.
    Interrupted,
    /// Worth another try: 429, 5xx, resets, time-outs.
    Transient,
    /// Refused for now by a rule of the cluster, a disruption budget: the action knows when another try is worth it.
    Held,
    /// The object is not there.
    NotFound,
    /// The object changed meanwhile, or is another one by that name.
    Conflict,
    /// A fault in quell.
    Internal,
}

/// An error for people: what happened, to what, and what to do next.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// Kind.
    pub fault: Fault,
    /// What happened, to what. Without a full stop.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem of any kind.
    pub fn new(fault: Fault, message: impl Into<String>) -> Problem {
        Problem { fault, message: message.into(), hint: None }
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// With what it is about before it.
    #[must_use]
    pub fn about(mut self, what: &str) -> Problem {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The step failed.
    pub fn failed(message: impl Into<String>) -> Problem {
        Problem::new(Fault::Failed, message)
    }

    /// A guard refused.
    pub fn refused(message: impl Into<String>) -> Problem {
        Problem::new(Fault::Refused, message)
    }

    /// Bad input.
    pub fn usage(message: impl Into<String>) -> Problem {
        Problem::new(Fault::Usage, message)
    }

    /// A fault in quell.
    pub fn internal(message: impl Into<String>) -> Problem {
        Problem::new(Fault::Internal, message).hint("this is a fault in quell; what was captured is kept")
    }

    /// A file could not be read or written.
    pub fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Problem {
        let problem = Problem::failed(format!("{what} {}: {error}", path.display()));
        match error.kind() {
            std::io::ErrorKind::StorageFull => {
                problem.hint("the disk is full: free some space or point --state-dir elsewhere")
            }
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                problem.hint("point --state-dir (or QUELL_STATE_DIR) to a directory that you may write")
            }
            _ => problem,
        }
    }

    /// Whether the engine should try again.
    pub fn is_transient(&self) -> bool {
        self.fault == Fault::Transient
    }
}

impl From<kube::Error> for Problem {
    fn from(error: kube::Error) -> Problem {
        match &error {
            kube::Error::Api(status) => {
                let fault = match status.code {
                    404 => Fault::NotFound,
                    409 => Fault::Conflict,
                    401 => Fault::Unreachable,
                    403 => Fault::Refused,
                    429 | 500 | 502..=504 => Fault::Transient,
                    _ => Fault::Failed,
                };
                let problem =
                    Problem::new(fault, format!("the API server answered {}: {}", status.code, status.message));
                match status.code {
                    401 => problem.hint(
                        "the credentials have expired or are not known to this cluster: renew them and `quell resume`",
                    ),
                    403 => problem.hint("`quell runbook rbac RUNBOOK` prints the rights it needs"),
                    _ => problem,
                }
            }
            kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::UpgradeConnection(_) => {
                Problem::new(Fault::Transient, format!("no answer from the API server: {}", chain(&error)))
            }
            _ => Problem::failed(chain(&error)),
        }
    }
}

/// An error with all its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
