//! Whether a running pod still holds the old value: by when it was made, by what is mounted in it, or it is not known.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::restart::{RESTARTED_BY, mark};
use crate::action::Problem;
use crate::action::sealed::{Values, Vault};
use crate::action::secret_use::Use;
use crate::clock;
use crate::cluster::exec::{self, End, Limits, Listener, Place};
use crate::cluster::{Cx, raw};

/// Bytes that are read of one mounted file.
const MAX_FILE: usize = 1 << 20;
const LIMITS: Limits = Limits { idle: Duration::from_secs(10), total: Duration::from_secs(20) };

/// What was found of one place in one pod.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "by")]
pub enum Verdict {
    /// It can't hold the old value.
    New(String),
    /// It holds it.
    Old(String),
    /// Not known: why.
    Unknown(String),
}

/// One pod.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    pub pod: String,
    pub uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// It was told to end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ending: bool,
    pub uses: Vec<(Use, Verdict)>,
}

impl Judged {
    /// What keeps it from being proved, if anything.
    pub fn open(&self) -> Vec<String> {
        self.uses
            .iter()
            .filter_map(|(usage, verdict)| {
                let place = place(usage);
                match verdict {
                    Verdict::New(_) => None,
                    Verdict::Old(by) => Some(format!("{} still holds the old value ({place}: {by})", self.pod)),
                    Verdict::Unknown(why) => Some(format!("{}: not proved ({place}: {why})", self.pod)),
                }
            })
            .collect()
    }

    pub fn holds(&self) -> bool {
        self.uses.iter().any(|(_, v)| matches!(v, Verdict::Old(_)))
    }
}

fn place(usage: &Use) -> String {
    match &usage.at {
        Some(at) => format!("{} {at}", usage.via),
        None => usage.via.to_owned(),
    }
}

/// What is compared with.
pub struct Question<'a> {
    pub vault: &'a Vault,
    pub old: Option<&'a Values>,
    /// When the Secret got the new values, by the API server's clock.
    pub updated: OffsetDateTime,
    /// The pods of these names use the old Secret, which was not changed: another has the new values.
    pub renamed: bool,
    /// The keys that have new values.
    pub keys: &'a [String],
    /// Whether what is mounted may be looked at, by exec.
    pub exec: bool,
}

/// Judges one pod, as it is now. None: it is gone or has ended.
pub async fn judge(
    cx: &Cx,
    question: &Question<'_>,
    namespace: &str,
    holder: &crate::action::secret_consumers::workloads::Holder,
) -> Result<Option<Judged>, Problem> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{}", holder.name);
    let pod = match raw::get(&cx.client, &path).await {
        Ok(pod) if pod["metadata"]["uid"] == holder.uid.as_str() => pod,
        Ok(_) => return Ok(None),
        Err(problem) if problem.fault == crate::cluster::Fault::NotFound => return Ok(None),
        Err(problem) => return Err(problem),
    };
    if ["Succeeded", "Failed"].iter().any(|ended| pod["status"]["phase"] == **ended) {
        return Ok(None);
    }
    let mut judged = Judged {
        pod: holder.name.clone(),
        uid: holder.uid.clone(),
        workload: holder.workload.clone(),
        ending: !pod["metadata"]["deletionTimestamp"].is_null(),
        uses: Vec::new(),
    };
    for usage in &holder.uses {
        // The kubelet takes a pull secret when it pulls: the pod never has it. Nor does one that takes other keys.
        if usage.via == "imagePullSecret" || usage.key.as_ref().is_some_and(|k| !question.keys.contains(k)) {
            continue;
        }
        let verdict = if question.renamed {
            Verdict::Old("it names the old Secret".into())
        } else {
            one(cx, question, namespace, &pod, usage).await?
        };
        judged.uses.push((usage.clone(), verdict));
    }
    Ok(Some(judged))
}

async fn one(cx: &Cx, question: &Question<'_>, namespace: &str, pod: &Value, usage: &Use) -> Result<Verdict, Problem> {
    let time = |v: &Value| v.as_str().and_then(|t| clock::parse(t).ok());
    // Both times are the API server's, in whole seconds.
    let created = time(&pod["metadata"]["creationTimestamp"]);
    let ours = pod["metadata"]["annotations"][RESTARTED_BY] == mark(cx).as_str();
    if ours || created.is_some_and(|c| c > question.updated) {
        return Ok(Verdict::New(format!(
            "made at {}, after the Secret was changed at {}",
            created.map(clock::rfc3339).unwrap_or_default(),
            clock::rfc3339(question.updated)
        )));
    }
    if usage.stays() {
        let container = usage.container.as_deref().unwrap_or_default();
        let statuses = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
        let mut all = statuses.iter().flat_map(|s| pod["status"][s].as_array().into_iter().flatten());
        let Some(status) = all.find(|s| s["name"] == container) else {
            return Ok(Verdict::Unknown(format!("container {container} has no status")));
        };
        if status["state"]["terminated"].is_object() {
            return Ok(Verdict::New(format!("container {container} has ended")));
        }
        // The node's clock, not the API server's: a margin for their difference.
        return Ok(match time(&status["state"]["running"]["startedAt"]) {
            Some(started) if started > question.updated + time::Duration::seconds(10) => Verdict::New(format!(
                "container {container} started again at {}, after the Secret was changed",
                clock::rfc3339(started)
            )),
            Some(started) => Verdict::Old(format!("container {container} runs since {}", clock::rfc3339(started))),
            None => Verdict::Unknown(format!("container {container} does not run, and will take what is there then")),
        });
    }
    match (usage.via, &usage.container, &usage.at) {
        ("volume", Some(container), Some(at)) if question.exec => {
            mounted(cx, question, namespace, pod["metadata"]["name"].as_str().unwrap_or_default(), container, at, usage)
                .await
        }
        ("volume", Some(_), Some(_)) => {
            Ok(Verdict::Unknown("what is mounted is not looked at (inspect: none); the kubelet refreshes it".into()))
        }
        ("volume", _, _) => {
            Ok(Verdict::Unknown("no container mounts the volume: the kubelet refreshes it on the node".into()))
        }
        _ => Ok(Verdict::Unknown("a volume's driver reads it by itself".into())),
    }
}

/// Reads a mounted file through the container's own `cat`, into memory alone, and compares digests.
async fn mounted(
    cx: &Cx,
    question: &Question<'_>,
    namespace: &str,
    pod: &str,
    container: &str,
    at: &str,
    usage: &Use,
) -> Result<Verdict, Problem> {
    let Some(old) = question.old else {
        return Ok(Verdict::Unknown("the old value is not sealed here any more".into()));
    };
    // A whole volume: one changed key is enough, for the kubelet swaps all of them at once.
    let (file, key) = match (&usage.key, question.keys.first()) {
        (Some(key), _) => (at.to_owned(), key.clone()),
        (None, Some(key)) => (format!("{at}/{key}"), key.clone()),
        (None, None) => return Ok(Verdict::Unknown("no key has a new value".into())),
    };
    struct Read(Zeroizing<Vec<u8>>);
    impl Listener for Read {
        fn stdout(&mut self, bytes: &[u8]) -> Result<(), Problem> {
            if self.0.len() + bytes.len() > MAX_FILE {
                return Err(Problem::failed("it is larger than a Secret can be"));
            }
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    let mut read = Read(Zeroizing::new(Vec::new()));
    let argv = ["cat".to_owned(), file.clone()];
    let place = Place { namespace, pod, container };
    let ended = match exec::exec(&cx.client, place, &argv, LIMITS, &mut read).await {
        Ok(ended) => ended,
        Err(problem) => return Ok(Verdict::Unknown(format!("it can't be looked at by exec: {problem}"))),
    };
    if ended.end != End::Success {
        return Ok(Verdict::Unknown(format!("`cat` in container {container}: {ended}")));
    }
    let same = old.0.get(&key).is_some_and(|old| question.vault.digest(old) == question.vault.digest(&read.0));
    Ok(if same {
        Verdict::Old(format!("{file} still has its content"))
    } else {
        Verdict::New(format!("{file} has another content, read by the container's own cat"))
    })
}
