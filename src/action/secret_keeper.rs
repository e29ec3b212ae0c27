//! Who keeps a Secret: recognised from its metadata alone, so that no value is ever fetched.

use kube::core::ObjectMeta;
use serde::Serialize;

/// Who would write the Secret again, and where its value is really changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Keeper {
    /// `External Secrets`, `Helm`, …
    pub who: String,
    /// How its value is rotated there.
    pub how: String,
    /// Whether it puts its own value back by itself, so that a change in the cluster would not last.
    pub overwrites: bool,
}

fn keeper(who: impl Into<String>, overwrites: bool, how: impl Into<String>) -> Keeper {
    Keeper { who: who.into(), how: how.into(), overwrites }
}

/// All keepers that the metadata names, the most telling first. The marks are each project's own:
/// external-secrets.io (label `reconcile.external-secrets.io/managed`), bitnami sealed-secrets (owner reference),
/// HashiCorp's Vault Secrets Operator, cert-manager.io, secrets-store.csi.k8s.io, reflector, replicator, Argo CD, Flux,
/// Helm.
pub(super) fn keepers(meta: &ObjectMeta) -> Vec<Keeper> {
    let label = |key: &str| meta.labels.as_ref().and_then(|l| l.get(key)).map(String::as_str);
    let note = |key: &str| meta.annotations.as_ref().and_then(|a| a.get(key)).map(String::as_str);
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    let owner = |kind: &str| owners.iter().find(|o| o.kind == kind).map(|o| o.name.as_str());
    let managed_by = label("app.kubernetes.io/managed-by");
    let mut found = Vec::new();

    if let Some(account) = note("kubernetes.io/service-account.name") {
        found.push(keeper(
            format!("the token controller, for the service account {account}"),
            true,
            "delete the Secret: its token is valid until then; prefer bound tokens to a new one",
        ));
    }
    let external = owner("ExternalSecret");
    if external.is_some() || label("reconcile.external-secrets.io/managed") == Some("true") {
        found.push(keeper(
            "External Secrets",
            true,
            format!(
                "rotate at the provider, then annotate the ExternalSecret{} with force-sync",
                external.map(|n| format!(" {n}")).unwrap_or_default()
            ),
        ));
    }
    if let Some(name) = owner("SealedSecret") {
        found.push(keeper(
            "sealed-secrets",
            true,
            format!("rotate at the issuer, then seal the new value into the SealedSecret {name}"),
        ));
    }
    let vault = owners.iter().find(|o| o.api_version.starts_with("secrets.hashicorp.com/"));
    if vault.is_some() || managed_by == Some("hashicorp-vso") {
        let object = vault.map(|o| format!(" (it comes by {} {})", o.kind, o.name)).unwrap_or_default();
        found.push(keeper("the Vault Secrets Operator", true, format!("rotate in Vault{object}")));
    }
    let certificate = note("cert-manager.io/certificate-name").or_else(|| owner("Certificate"));
    if let Some(name) = certificate {
        found.push(keeper(
            "cert-manager",
            true,
            format!("`cmctl renew {name}`, then revoke the old certificate at its issuer if that can"),
        ));
    }
    if label("secrets-store.csi.k8s.io/managed") == Some("true") {
        found.push(keeper(
            "the Secrets Store CSI driver",
            true,
            "rotate at the provider; it is written here when a pod mounts it",
        ));
    }
    let copied =
        note("reflector.v1.k8s.emberstack.com/reflects").or_else(|| note("replicator.v1.mittwald.de/replicate-from"));
    if let Some(from) = copied {
        found.push(keeper("a replicator", true, format!("rotate the Secret that it copies: {from}")));
    }
    if note("argocd.argoproj.io/tracking-id").is_some() || label("argocd.argoproj.io/instance").is_some() {
        found.push(keeper("Argo CD", true, "change it in Git, or where its plugin takes it from, and sync"));
    }
    if label("kustomize.toolkit.fluxcd.io/name").is_some() || label("helm.toolkit.fluxcd.io/name").is_some() {
        found.push(keeper("Flux", true, "change it in Git and reconcile"));
    }
    if managed_by == Some("Helm") || note("meta.helm.sh/release-name").is_some() {
        let release = note("meta.helm.sh/release-name").map(|r| format!(" of {r}")).unwrap_or_default();
        found.push(keeper(
            "Helm",
            false,
            format!("change the value{release} as well: the next upgrade may put the old one back"),
        ));
    }
    if found.is_empty() {
        found.extend(
            owners.iter().filter(|o| o.controller == Some(true)).map(|o| {
                keeper(format!("{} {}", o.kind, o.name), true, "rotate where that object takes the value from")
            }),
        );
    }
    found
}

/// Who wrote it last, by the names in its managed fields: only a hint, for clients choose them.
pub(super) fn writers(meta: &ObjectMeta) -> Vec<String> {
    let mut names: Vec<String> = meta.managed_fields.iter().flatten().filter_map(|f| f.manager.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The keys of its data, from its managed fields: names only. Empty when they do not tell.
pub(super) fn keys(meta: &ObjectMeta) -> Vec<String> {
    let mut keys = std::collections::BTreeSet::new();
    for entry in meta.managed_fields.iter().flatten() {
        let fields = entry.fields_v1.as_ref().map(|f| &f.0);
        for part in ["f:data", "f:stringData"] {
            let data = fields.and_then(|f| f.get(part)).and_then(|d| d.as_object());
            keys.extend(data.into_iter().flatten().filter_map(|(k, _)| k.strip_prefix("f:").map(str::to_owned)));
        }
    }
    keys.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn who(meta: Value) -> Vec<(String, bool)> {
        keepers(&serde_json::from_value(meta).unwrap()).into_iter().map(|k| (k.who, k.overwrites)).collect()
    }

    #[test]
    fn keepers_are_recognised_by_their_own_marks() {
        let owned = |api: &str, kind: &str| json!({"ownerReferences": [{"apiVersion": api, "kind": kind, "name": "n", "uid": "u", "controller": true}]});
        for (meta, name) in [
            (json!({"labels": {"reconcile.external-secrets.io/managed": "true"}}), "External Secrets"),
            (owned("external-secrets.io/v1", "ExternalSecret"), "External Secrets"),
            (owned("bitnami.com/v1alpha1", "SealedSecret"), "sealed-secrets"),
            (owned("secrets.hashicorp.com/v1beta1", "VaultStaticSecret"), "the Vault Secrets Operator"),
            (json!({"annotations": {"cert-manager.io/certificate-name": "tls"}}), "cert-manager"),
            (json!({"labels": {"secrets-store.csi.k8s.io/managed": "true"}}), "the Secrets Store CSI driver"),
            (json!({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}), "Argo CD"),
            (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}), "Flux"),
            (json!({"annotations": {"replicator.v1.mittwald.de/replicate-from": "a/b"}}), "a replicator"),
            (owned("example.org/v1", "Widget"), "Widget n"),
        ] {
            assert_eq!(who(meta), [(name.to_owned(), true)]);
        }
        assert_eq!(who(json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}})), [("Helm".into(), false)]);
        assert_eq!(who(json!({})), []);
    }

    #[test]
    fn names_of_keys_come_from_managed_fields() {
        let meta: ObjectMeta = serde_json::from_value(json!({"managedFields": [
            {"manager": "kubectl", "fieldsV1": {"f:data": {".": {}, "f:password": {}, "f:user": {}}, "f:type": {}}},
        ]}))
        .unwrap();
        assert_eq!(keys(&meta), ["password", "user"]);
        assert_eq!(writers(&meta), ["kubectl"]);
    }
}
