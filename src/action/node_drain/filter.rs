//! What becomes of each pod: kubectl drain's filters in their order (k8s.io/kubectl pkg/drain/filters.go), with a reason
//! for each, and the parameter that a refusal asks for.

use serde_json::Value;

/// The parameters that the filters ask for, named as kubectl's flags.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    pub ignore_daemonsets: bool,
    pub delete_emptydir_data: bool,
    pub force: bool,
}

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is evicted; what is lost with it, when something is.
    Evict { lost: Option<String> },
    /// It is ending already: it is not asked again, and waited for.
    Await(String),
    /// It stays.
    Stay(String),
    /// Nothing is drained at all before this is decided.
    Refuse { why: String, parameter: &'static str },
}

/// The owner that controls it.
pub(super) fn controller(pod: &Value) -> Option<&Value> {
    pod["metadata"]["ownerReferences"].as_array()?.iter().find(|o| o["controller"] == true)
}

/// Whether it has ended by itself.
pub(super) fn finished(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default())
}

/// Whether it was made from a file on its node's disk.
fn is_static(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string()
}

/// Decides about one pod. `has_daemonset` tells whether the DaemonSet that controls it is there.
pub(super) fn decide(pod: &Value, rules: Rules, has_daemonset: impl Fn(&Value) -> bool) -> Verdict {
    if let Some(since) = pod["metadata"]["deletionTimestamp"].as_str() {
        let finalizers: Vec<&str> =
            pod["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let held =
            if finalizers.is_empty() { String::new() } else { format!(", finalizers {}", finalizers.join(", ")) };
        return Verdict::Await(format!("it is ending already, to be gone by {since}{held}"));
    }
    let owner = controller(pod);
    let name = |o: &Value| o["name"].as_str().unwrap_or_default().to_string();
    let mut lost = Vec::new();
    if let Some(set) = owner.filter(|o| o["kind"] == "DaemonSet").filter(|_| !finished(pod)) {
        if !has_daemonset(set) {
            if !rules.force {
                let why = format!("its DaemonSet {} is gone: nothing makes it again", name(set));
                return Verdict::Refuse { why, parameter: "force" };
            }
            lost.push(format!("its DaemonSet {} is gone: nothing makes it again", name(set)));
        } else if rules.ignore_daemonsets {
            return Verdict::Stay(format!("DaemonSet {} would start it again at once", name(set)));
        } else {
            let why = format!("it is of DaemonSet {}, which would start it again at once: it can only stay", name(set));
            return Verdict::Refuse { why, parameter: "ignore-daemonsets" };
        }
    }
    if is_static(pod) {
        return Verdict::Stay("it is a static pod, from a file on the node's disk: the API can't remove it".into());
    }
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let empty: Vec<&str> = volumes.filter(|v| v["emptyDir"].is_object()).filter_map(|v| v["name"].as_str()).collect();
    if !empty.is_empty() && !finished(pod) {
        let what = format!("what it keeps in emptyDir {} goes with it", empty.join(", "));
        if !rules.delete_emptydir_data {
            return Verdict::Refuse { why: what, parameter: "delete-emptydir-data" };
        }
        lost.push(what);
    }
    if owner.is_none() && !finished(pod) {
        let what = "it has no controller: nothing makes it again".to_string();
        if !rules.force {
            return Verdict::Refuse { why: what, parameter: "force" };
        }
        lost.push(what);
    }
    Verdict::Evict { lost: (!lost.is_empty()).then(|| lost.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ALL: Rules = Rules { ignore_daemonsets: true, delete_emptydir_data: true, force: true };

    fn pod(owner: Option<&str>, rest: Value) -> Value {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {}, "status": {"phase": "Running"}});
        if let Some(kind) = owner {
            pod["metadata"]["ownerReferences"] = json!([{"kind": kind, "name": "o", "uid": "u", "controller": true}]);
        }
        json_merge(&mut pod, rest);
        pod
    }

    fn json_merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                from.into_iter().for_each(|(k, v)| json_merge(into.entry(k).or_insert(Value::Null), v));
            }
            (into, from) => *into = from,
        }
    }

    /// One word for a verdict: the parameter it asks for, or what becomes of the pod.
    fn word(pod: &Value, rules: Rules, set: bool) -> &'static str {
        match decide(pod, rules, |_| set) {
            Verdict::Evict { lost: None } => "evict",
            Verdict::Evict { lost: Some(_) } => "evict, something is lost",
            Verdict::Await(_) => "await",
            Verdict::Stay(_) => "stay",
            Verdict::Refuse { parameter, .. } => parameter,
        }
    }

    /// The cases of kubectl's own tests (pkg/cmd/drain/drain_test.go, pkg/drain/filter_test.go), with its decisions.
    #[test]
    fn each_of_kubectls_cases_gets_its_decision() {
        let empty_dir = json!({"spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}});
        let finished = json!({"status": {"phase": "Succeeded"}});
        let none = Rules::default();
        let ds = Rules { ignore_daemonsets: true, ..none };
        let local = Rules { delete_emptydir_data: true, ..none };
        let force = Rules { force: true, ..none };
        let both = |a: &Value, b: Value| {
            let mut a = a.clone();
            json_merge(&mut a, b);
            a
        };
        for (case, pod, rules, set, expected) in [
            ("ReplicaSet", pod(Some("ReplicaSet"), json!({})), none, true, "evict"),
            ("Job", pod(Some("Job"), json!({})), none, true, "evict"),
            ("a controller of an unknown kind", pod(Some("CloneSet"), json!({})), none, true, "evict"),
            ("DaemonSet", pod(Some("DaemonSet"), json!({})), none, true, "ignore-daemonsets"),
            ("DaemonSet, forced", pod(Some("DaemonSet"), json!({})), force, true, "ignore-daemonsets"),
            ("DaemonSet, ignored", pod(Some("DaemonSet"), json!({})), ds, true, "stay"),
            ("DaemonSet with emptyDir, ignored", pod(Some("DaemonSet"), empty_dir.clone()), ds, true, "stay"),
            ("finished DaemonSet pod", pod(Some("DaemonSet"), finished.clone()), none, true, "evict"),
            ("orphan of a DaemonSet", pod(Some("DaemonSet"), json!({})), ds, false, "force"),
            (
                "orphan of a DaemonSet, forced",
                pod(Some("DaemonSet"), json!({})),
                force,
                false,
                "evict, something is lost",
            ),
            (
                "static pod",
                pod(None, json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}})),
                none,
                true,
                "stay",
            ),
            ("emptyDir", pod(Some("ReplicaSet"), empty_dir.clone()), none, true, "delete-emptydir-data"),
            ("emptyDir, forced", pod(Some("ReplicaSet"), empty_dir.clone()), force, true, "delete-emptydir-data"),
            ("emptyDir, deleted", pod(Some("ReplicaSet"), empty_dir.clone()), local, true, "evict, something is lost"),
            ("finished with emptyDir", pod(Some("Job"), both(&empty_dir, finished.clone())), none, true, "evict"),
            ("unmanaged", pod(None, json!({})), none, true, "force"),
            ("unmanaged, forced", pod(None, json!({})), force, true, "evict, something is lost"),
            ("unmanaged and finished", pod(None, finished), none, true, "evict"),
            ("unmanaged with emptyDir, forced", pod(None, empty_dir.clone()), force, true, "delete-emptydir-data"),
            ("unmanaged with emptyDir, all", pod(None, empty_dir), ALL, true, "evict, something is lost"),
            // kubectl asks such a pod again to go; that it goes is known already.
            (
                "terminating",
                pod(Some("ReplicaSet"), json!({"metadata": {"deletionTimestamp": "2026-11-23T03:00:00Z"}})),
                none,
                true,
                "await",
            ),
        ] {
            assert_eq!(word(&pod, rules, set), expected, "{case}");
        }
    }
}
