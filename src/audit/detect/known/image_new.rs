//! Images from where none came from before.

use std::collections::{HashMap, HashSet};

use time::{Duration, OffsetDateTime};

use super::is_system;
use crate::audit::detect::look::text;
use crate::audit::detect::template::{TEMPLATE_BODIES, TEMPLATES, containers};
use crate::audit::detect::{Actors, Around, Detection, Fact, Look, Out, Severity, Spec};

pub struct ImageNew;

const SEEN: u8 = 1;
const BY_TAG: u8 = 2;
/// How long the log must have shown where images come from before a registry counts as new.
const LEARN: Duration = Duration::hours(1);

const SPEC: Spec = Spec {
    id: "image-new",
    title: "Image from a new registry, or not pinned among the cluster's own",
    techniques: "T1610 T1525",
    severity: Severity::High,
    says: "{who} [ran|tried to run] an image from somewhere new or not pinned, {what}{notes}.",
    false_positives: "The first release of a product; in a short log every registry is new, so nothing is said in its first hour.",
    step: "See who publishes under that name, and scan the image. Pin images by digest where the cluster's own parts run.",
    on: TEMPLATES,
    by: Actors::ANY,
    needs: TEMPLATE_BODIES,
    cap: 60_000,
};

impl Detection for ImageNew {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let specs = look.pod_specs();
        let system = is_system(look.namespace());
        for image in
            specs.iter().flat_map(|s| containers(s)).map(|c| text(c, "/image")).filter(|i| !i.is_empty()).take(20)
        {
            let registry = registry(image);
            let severity = match (look.actor.is_own(), look.actor.is_account(), system) {
                (true, ..) => Severity::Info,
                (_, true, true) => Severity::High,
                (_, true, false) | (_, false, true) => Severity::Medium,
                (_, false, false) => Severity::Low,
            };
            out.note_once(look, SEEN, severity, &registry, image);
            if system && !look.actor.is_own() && !image.contains("@sha256:") {
                let latest = tag(image).is_none_or(|t| t == "latest");
                let (severity, why) =
                    if latest { (Severity::Medium, "whatever is latest") } else { (Severity::Low, "by its tag") };
                out.note(look, BY_TAG, severity, &look.what(), &format!("{image}, {why}"));
            }
        }
    }

    fn judge(&self, facts: Vec<Fact>, around: &Around) -> Vec<Fact> {
        let Some(begin) = around.sessions.iter().map(|s| s.first).min() else { return Vec::new() };
        let (seen, mut found): (Vec<Fact>, Vec<Fact>) = facts.into_iter().partition(|f| f.mark == SEEN);
        let mut known: HashMap<&str, OffsetDateTime> = HashMap::new();
        for fact in &seen {
            known.entry(&fact.object).or_insert(fact.at);
        }
        let learned: HashSet<&str> = known.iter().filter(|(_, at)| **at - begin < LEARN).map(|(r, _)| *r).collect();
        // Where nothing was seen at first, everything would be new.
        if learned.is_empty() {
            return found;
        }
        let new = |f: &&Fact| {
            f.severity > Severity::Info
                && !learned.contains(f.object.as_ref())
                && known.get(f.object.as_ref()) == Some(&f.at)
        };
        let first: Vec<Fact> = seen.iter().filter(new).cloned().collect();
        found.extend(first);
        found
    }
}

/// The registry and, on a shared one, who publishes there: `registry.example`, `docker.io/library`, `ghcr.io/owner`.
fn registry(image: &str) -> String {
    let name = image.split('@').next().unwrap_or_default();
    let parts: Vec<&str> = name.split('/').collect();
    let is_host = |p: &str| p.contains(['.', ':']) || p == "localhost";
    match parts.as_slice() {
        [_] => "docker.io/library".into(),
        [host, owner, _, ..] if is_host(host) && shared(host) => format!("{host}/{owner}"),
        [host, _, ..] if is_host(host) => (*host).to_owned(),
        [owner, ..] => format!("docker.io/{owner}"),
        [] => String::new(),
    }
}

fn shared(host: &str) -> bool {
    matches!(
        host,
        "docker.io" | "index.docker.io" | "ghcr.io" | "quay.io" | "gcr.io" | "registry.gitlab.com" | "public.ecr.aws"
    )
}

fn tag(image: &str) -> Option<&str> {
    image.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{Line, each, line, none, severity};

    fn deploy(image: &str, at: i64) -> Line {
        line("create", "deployments.apps")
            .ns("shop")
            .name("w")
            .at(at)
            .body(json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": image}]}}}}))
    }

    #[test]
    fn a_registry_is_new_after_the_first_hour() {
        let old = deploy("registry.example:5000/team/app:1", 0);
        assert_eq!(severity(SPEC.id, &[old.clone(), deploy("registry.example:5000/other/x:2", 7200)]), None);
        assert_eq!(severity(SPEC.id, &[old.clone(), deploy("evil/miner", 7200)]), Some(Severity::Low));
        assert_eq!(
            severity(SPEC.id, &[old.clone(), deploy("ghcr.io/evil/x", 7200).account("shop", "web")]),
            Some(Severity::Medium)
        );
        assert_eq!(
            severity(
                SPEC.id,
                &[old.clone(), deploy("evil/miner@sha256:0", 7200).ns("kube-system").account("shop", "web")]
            ),
            Some(Severity::High)
        );
        assert_eq!(severity(SPEC.id, &[old.clone(), deploy("evil/miner", 600)]), None, "too early to tell");
        assert_eq!(severity(SPEC.id, &[old, deploy("evil/miner", 7200).controller("replicaset-controller")]), None);
    }

    #[test]
    fn pinned_among_the_clusters_own() {
        let system = |image: &str| deploy(image, 0).ns("kube-system");
        each(SPEC.id, Severity::Medium, &[system("x:latest"), system("registry.example/x")]);
        each(SPEC.id, Severity::Low, &[system("registry.example:5000/x:1")]);
        none(
            SPEC.id,
            &[
                system("registry.example/x@sha256:00"),
                deploy("x:latest", 0),
                system("x").controller("daemon-set-controller"),
            ],
        );
        assert_eq!(registry("localhost:5000/x:1"), "localhost:5000");
        assert_eq!((registry("nginx:1"), registry("team/app")), ("docker.io/library".into(), "docker.io/team".into()));
    }
}
