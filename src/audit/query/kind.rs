//! What a person calls a resource: `secret`, `secrets`, `deploy`, `Deployment`, `deployments.apps`.

/// Plural, singular, short names.
const KNOWN: &[(&str, &str, &[&str])] = &[
    ("configmaps", "configmap", &["cm"]),
    ("cronjobs", "cronjob", &["cj"]),
    ("certificatesigningrequests", "certificatesigningrequest", &["csr"]),
    ("customresourcedefinitions", "customresourcedefinition", &["crd", "crds"]),
    ("daemonsets", "daemonset", &["ds"]),
    ("deployments", "deployment", &["deploy"]),
    ("endpoints", "endpoints", &["ep"]),
    ("endpointslices", "endpointslice", &[]),
    ("events", "event", &["ev"]),
    ("horizontalpodautoscalers", "horizontalpodautoscaler", &["hpa"]),
    ("ingresses", "ingress", &["ing"]),
    ("jobs", "job", &[]),
    ("leases", "lease", &[]),
    ("namespaces", "namespace", &["ns"]),
    ("networkpolicies", "networkpolicy", &["netpol"]),
    ("nodes", "node", &["no"]),
    ("persistentvolumeclaims", "persistentvolumeclaim", &["pvc"]),
    ("persistentvolumes", "persistentvolume", &["pv"]),
    ("poddisruptionbudgets", "poddisruptionbudget", &["pdb"]),
    ("pods", "pod", &["po"]),
    ("priorityclasses", "priorityclass", &["pc"]),
    ("replicasets", "replicaset", &["rs"]),
    ("replicationcontrollers", "replicationcontroller", &["rc"]),
    ("resourcequotas", "resourcequota", &["quota"]),
    ("rolebindings", "rolebinding", &[]),
    ("clusterrolebindings", "clusterrolebinding", &[]),
    ("roles", "role", &[]),
    ("clusterroles", "clusterrole", &[]),
    ("secrets", "secret", &[]),
    ("serviceaccounts", "serviceaccount", &["sa"]),
    ("services", "service", &["svc"]),
    ("statefulsets", "statefulset", &["sts"]),
    ("storageclasses", "storageclass", &["sc"]),
    ("mutatingwebhookconfigurations", "mutatingwebhookconfiguration", &[]),
    ("validatingwebhookconfigurations", "validatingwebhookconfiguration", &[]),
];

/// A resource as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Plurals that it may be: one if it is known.
    pub plurals: Vec<String>,
    group: Option<String>,
}

impl Kind {
    /// From what a person writes; a group after a dot.
    pub fn parse(text: &str) -> Kind {
        let lower = text.to_ascii_lowercase();
        let (name, group) = lower.split_once('.').map_or((lower.as_str(), None), |(n, g)| (n, Some(g.to_owned())));
        let known = KNOWN.iter().find(|(plural, one, short)| *plural == name || *one == name || short.contains(&name));
        let plurals = match known {
            Some((plural, ..)) => vec![(*plural).to_owned()],
            // Go's own guess of a plural, and the text itself, which may be one.
            None => {
                let mut guesses = vec![name.to_owned(), format!("{name}s"), format!("{name}es")];
                guesses.extend(name.strip_suffix('y').map(|stem| format!("{stem}ies")));
                guesses
            }
        };
        Kind { plurals, group }
    }

    /// Whether a request's resource is of this kind.
    pub fn is(&self, resource: &str, group: &str) -> bool {
        self.plurals.iter().any(|p| p == resource) && self.group.as_ref().is_none_or(|g| g == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_all_its_names() {
        for name in ["secret", "Secret", "secrets"] {
            assert!(Kind::parse(name).is("secrets", ""), "{name}");
        }
        assert!(Kind::parse("deploy").is("deployments", "apps"));
        assert!(Kind::parse("deployments.apps").is("deployments", "apps"));
        assert!(!Kind::parse("deployments.apps").is("deployments", "extensions"));
        for (name, plural) in [("widget", "widgets"), ("policy", "policies"), ("Box", "boxes"), ("widgets", "widgets")]
        {
            assert!(Kind::parse(name).is(plural, "example.org"), "{name}");
        }
        assert!(!Kind::parse("pod").is("podtemplates", ""));
    }
}
