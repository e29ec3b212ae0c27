//! Bindings: which of their subjects are the identity, and who would put them back.

use serde_json::{Value, json};

use super::Identity;
use crate::cluster::{Cx, Problem, raw};
use crate::event::ObjectRef;

/// The API group.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// How a subject is the identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Itself.
    Itself,
    /// By a group of it.
    Group(String),
}

/// How a binding's subject is the identity; None: it is not.
pub(crate) fn way(subject: &Value, namespace: Option<&str>, identity: &Identity) -> Option<Way> {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str().unwrap_or_default() {
        "User" if identity.username.as_deref() == Some(name) => Some(Way::Itself),
        "ServiceAccount" => {
            let account = identity.service_account.as_ref()?;
            // A RoleBinding's subject may leave its own namespace out.
            let of = subject["namespace"].as_str().filter(|n| !n.is_empty()).or(namespace);
            (account.name == name && of == Some(account.namespace.as_str())).then_some(Way::Itself)
        }
        "Group" if identity.groups.iter().any(|g| g == name) => Some(Way::Group(name.into())),
        _ => None,
    }
}

/// The subjects that go: those that are the identity itself, and the named groups.
pub(crate) fn going(binding: &Value, identity: &Identity, groups: &[String]) -> Vec<usize> {
    let namespace = binding["metadata"]["namespace"].as_str();
    let subjects = binding["subjects"].as_array().into_iter().flatten().enumerate();
    subjects
        .filter(|(_, s)| match way(s, namespace, identity) {
            Some(Way::Itself) => true,
            Some(Way::Group(group)) => groups.contains(&group),
            None => false,
        })
        .map(|(at, _)| at)
        .collect()
}

/// Every binding of the cluster, paged: those of the whole cluster first.
pub(crate) async fn all(cx: &Cx) -> Result<Vec<Value>, Problem> {
    let mut found = Vec::new();
    for (plural, kind) in [("clusterrolebindings", "ClusterRoleBinding"), ("rolebindings", "RoleBinding")] {
        let (items, more) = raw::list(&cx.client, format!("/apis/{GROUP}/v1/{plural}")).await?;
        if more {
            return Err(Problem::failed(format!("there are more {plural} than are read: some may name it unseen")));
        }
        found.extend(items.into_iter().map(|mut item| {
            item["kind"] = json!(kind);
            item["apiVersion"] = json!(format!("{GROUP}/v1"));
            item
        }));
    }
    Ok(found)
}

/// As an operation's object.
pub(crate) fn object(binding: &Value) -> ObjectRef {
    let text = |key: &str| binding["metadata"][key].as_str().map(str::to_owned);
    ObjectRef {
        api_version: format!("{GROUP}/v1"),
        kind: binding["kind"].as_str().unwrap_or_default().into(),
        namespace: text("namespace"),
        name: text("name").unwrap_or_default(),
        uid: text("uid"),
    }
}

/// Where it is.
pub(crate) fn path(object: &ObjectRef) -> String {
    match &object.namespace {
        Some(namespace) => format!("/apis/{GROUP}/v1/namespaces/{namespace}/rolebindings/{}", object.name),
        None => format!("/apis/{GROUP}/v1/clusterrolebindings/{}", object.name),
    }
}

/// `ClusterRole admin`.
pub(crate) fn role(binding: &Value) -> String {
    let text = |key: &str| binding["roleRef"][key].as_str().unwrap_or_default();
    format!("{} {}", text("kind"), text("name"))
}

/// Who would put it back, and what to do about it first. In the words of whoever keeps objects by such marks.
pub(crate) fn restorers(binding: &Value) -> Vec<String> {
    let meta = &binding["metadata"];
    let mark = |of: &str, key: &str| meta[of][key].as_str().map(str::to_owned);
    let mut all = Vec::new();
    if mark("annotations", "rbac.authorization.kubernetes.io/autoupdate").as_deref() == Some("true") {
        all.push(
            "the API server puts its default subjects back whenever it starts: set its annotation \
             rbac.authorization.kubernetes.io/autoupdate to \"false\""
                .into(),
        );
    }
    for owner in meta["ownerReferences"].as_array().into_iter().flatten() {
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        all.push(format!("its owner {} {} may put it back: take the subject out there", text("kind"), text("name")));
    }
    let known: [(&str, &str, &str); 8] = [
        (
            "labels",
            "kustomize.toolkit.fluxcd.io/name",
            "Flux (Kustomization {}) puts it back: suspend it, and change its source",
        ),
        (
            "labels",
            "helm.toolkit.fluxcd.io/name",
            "Flux (HelmRelease {}) puts it back: suspend it, and change its values",
        ),
        (
            "labels",
            "argocd.argoproj.io/instance",
            "Argo CD (application {}) puts it back: turn its self-heal off, and change its source",
        ),
        (
            "annotations",
            "argocd.argoproj.io/tracking-id",
            "Argo CD ({}) puts it back: turn its self-heal off, and change its source",
        ),
        (
            "annotations",
            "meta.helm.sh/release-name",
            "Helm's next upgrade of release {} puts it back: change its values",
        ),
        ("annotations", "config.k8s.io/owning-inventory", "a GitOps inventory ({}) puts it back: change its source"),
        ("annotations", "configmanagement.gke.io/managed", "Config Sync ({}) puts it back: change its source"),
        ("labels", "olm.owner", "the Operator Lifecycle Manager ({}) puts it back"),
    ];
    all.extend(known.iter().filter_map(|(of, key, says)| Some(says.replace("{}", &mark(of, key)?))));
    all
}

/// Who wrote it last, by its managed fields: manager, operation and time.
pub(crate) fn last_writer(binding: &Value) -> String {
    let fields = binding["metadata"]["managedFields"].as_array().into_iter().flatten();
    let last = fields.max_by_key(|f| f["time"].as_str().unwrap_or_default().to_owned());
    match last {
        Some(f) => {
            let text = |key: &str| f[key].as_str().unwrap_or("?");
            format!("{} ({} at {})", text("manager"), text("operation"), text("time"))
        }
        None => "somebody whom its managed fields do not name".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_identity_in_every_form_and_a_namesake_is_not() {
        let identity = Identity::named("system:serviceaccount:shop:web", &[]);
        let is = |subject: Value, namespace| way(&subject, namespace, &identity);
        assert_eq!(
            is(json!({"kind": "ServiceAccount", "name": "web", "namespace": "shop"}), Some("x")),
            Some(Way::Itself)
        );
        assert_eq!(is(json!({"kind": "ServiceAccount", "name": "web"}), Some("shop")), Some(Way::Itself));
        assert_eq!(is(json!({"kind": "ServiceAccount", "name": "web"}), Some("other")), None);
        assert_eq!(is(json!({"kind": "User", "name": "system:serviceaccount:shop:web"}), None), Some(Way::Itself));
        assert_eq!(is(json!({"kind": "User", "name": "web"}), None), None);
        let group = "system:serviceaccounts:shop";
        assert_eq!(is(json!({"kind": "Group", "name": group}), None), Some(Way::Group(group.into())));
        let binding = json!({"metadata": {"namespace": "shop"}, "subjects": [
            {"kind": "Group", "name": group}, {"kind": "ServiceAccount", "name": "web"}, {"kind": "User", "name": "jane"},
        ]});
        assert_eq!(going(&binding, &identity, &[]), [1]);
        assert_eq!(going(&binding, &identity, &[group.to_owned()]), [0, 1]);
    }

    #[test]
    fn who_would_put_it_back_is_recognised() {
        let all = restorers(&json!({"metadata": {
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true", "meta.helm.sh/release-name": "shop"},
            "labels": {"kustomize.toolkit.fluxcd.io/name": "infra"},
            "ownerReferences": [{"kind": "Team", "name": "blue"}],
        }}));
        let text = all.join("\n");
        for part in ["API server", "owner Team blue", "Kustomization infra", "release shop"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(restorers(&json!({"metadata": {"labels": {"app": "x"}}})).is_empty());
    }
}
