//! Which kinds the server knows: the built-in ones as one table, and those that CustomResourceDefinitions add.

use std::sync::Arc;

use serde_json::{Value, json};

/// One kind as the API serves it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Served version.
    pub version: String,
    /// `pods`.
    pub plural: String,
    /// `pod`.
    pub singular: String,
    /// `Pod`.
    pub kind: String,
    /// Short names, `po`.
    pub short: Vec<String>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Verbs of the resource itself.
    pub verbs: Vec<String>,
    /// Groups of kinds such as `all`.
    pub categories: Vec<String>,
    /// Name, kind, group and version of the kind (empty: the resource's own), verbs.
    pub subresources: Vec<Subresource>,
    /// A CustomResourceDefinition made it.
    pub custom: bool,
}

/// Something below an object: `pods/exec`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subresource {
    /// `exec`.
    pub name: String,
    /// `PodExecOptions`.
    pub kind: String,
    /// `group/version` of that kind, when it is not the resource's own.
    pub api_version: String,
    /// Its verbs.
    pub verbs: Vec<String>,
}

const ALL: &str = "create delete deletecollection get list patch update watch";
const STATUS: &str = "status";

/// Group, version, plural, singular, kind, short names, scope, verbs, categories, subresources.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
    &'static str,
    &'static str,
    &'static str,
);

const BUILT_IN: &[Row] = &[
    ("", "v1", "bindings", "binding", "Binding", "", true, "create", "", ""),
    ("", "v1", "configmaps", "configmap", "ConfigMap", "cm", true, ALL, "", ""),
    ("", "v1", "endpoints", "endpoints", "Endpoints", "ep", true, ALL, "", ""),
    ("", "v1", "events", "event", "Event", "ev", true, ALL, "", ""),
    ("", "v1", "limitranges", "limitrange", "LimitRange", "limits", true, ALL, "", ""),
    (
        "",
        "v1",
        "namespaces",
        "namespace",
        "Namespace",
        "ns",
        false,
        "create delete get list patch update watch",
        "",
        "finalize status",
    ),
    ("", "v1", "nodes", "node", "Node", "no", false, ALL, "", "proxy status"),
    (
        "",
        "v1",
        "persistentvolumeclaims",
        "persistentvolumeclaim",
        "PersistentVolumeClaim",
        "pvc",
        true,
        ALL,
        "",
        STATUS,
    ),
    ("", "v1", "persistentvolumes", "persistentvolume", "PersistentVolume", "pv", false, ALL, "", STATUS),
    (
        "",
        "v1",
        "pods",
        "pod",
        "Pod",
        "po",
        true,
        ALL,
        "all",
        "attach binding ephemeralcontainers eviction exec log portforward proxy resize status",
    ),
    ("", "v1", "podtemplates", "podtemplate", "PodTemplate", "", true, ALL, "", ""),
    (
        "",
        "v1",
        "replicationcontrollers",
        "replicationcontroller",
        "ReplicationController",
        "rc",
        true,
        ALL,
        "all",
        "scale status",
    ),
    ("", "v1", "resourcequotas", "resourcequota", "ResourceQuota", "quota", true, ALL, "", STATUS),
    ("", "v1", "secrets", "secret", "Secret", "", true, ALL, "", ""),
    ("", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount", "sa", true, ALL, "", "token"),
    ("", "v1", "services", "service", "Service", "svc", true, ALL, "all", "proxy status"),
    (
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
        "MutatingWebhookConfiguration",
        "",
        false,
        ALL,
        "api-extensions",
        "",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
        "validatingadmissionpolicy",
        "ValidatingAdmissionPolicy",
        "",
        false,
        ALL,
        "api-extensions",
        STATUS,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicybinding",
        "ValidatingAdmissionPolicyBinding",
        "",
        false,
        ALL,
        "api-extensions",
        "",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
        "ValidatingWebhookConfiguration",
        "",
        false,
        ALL,
        "api-extensions",
        "",
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "customresourcedefinition",
        "CustomResourceDefinition",
        "crd crds",
        false,
        ALL,
        "api-extensions",
        STATUS,
    ),
    ("apps", "v1", "controllerrevisions", "controllerrevision", "ControllerRevision", "", true, ALL, "", ""),
    ("apps", "v1", "daemonsets", "daemonset", "DaemonSet", "ds", true, ALL, "all", STATUS),
    ("apps", "v1", "deployments", "deployment", "Deployment", "deploy", true, ALL, "all", "scale status"),
    ("apps", "v1", "replicasets", "replicaset", "ReplicaSet", "rs", true, ALL, "all", "scale status"),
    ("apps", "v1", "statefulsets", "statefulset", "StatefulSet", "sts", true, ALL, "all", "scale status"),
    (
        "authentication.k8s.io",
        "v1",
        "selfsubjectreviews",
        "selfsubjectreview",
        "SelfSubjectReview",
        "",
        false,
        "create",
        "",
        "",
    ),
    ("authentication.k8s.io", "v1", "tokenreviews", "tokenreview", "TokenReview", "", false, "create", "", ""),
    (
        "authorization.k8s.io",
        "v1",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
        "LocalSubjectAccessReview",
        "",
        true,
        "create",
        "",
        "",
    ),
    (
        "authorization.k8s.io",
        "v1",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
        "SelfSubjectAccessReview",
        "",
        false,
        "create",
        "",
        "",
    ),
    (
        "authorization.k8s.io",
        "v1",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
        "SelfSubjectRulesReview",
        "",
        false,
        "create",
        "",
        "",
    ),
    (
        "authorization.k8s.io",
        "v1",
        "subjectaccessreviews",
        "subjectaccessreview",
        "SubjectAccessReview",
        "",
        false,
        "create",
        "",
        "",
    ),
    (
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        "HorizontalPodAutoscaler",
        "hpa",
        true,
        ALL,
        "all",
        STATUS,
    ),
    ("batch", "v1", "cronjobs", "cronjob", "CronJob", "cj", true, ALL, "all", STATUS),
    ("batch", "v1", "jobs", "job", "Job", "", true, ALL, "all", STATUS),
    (
        "certificates.k8s.io",
        "v1",
        "certificatesigningrequests",
        "certificatesigningrequest",
        "CertificateSigningRequest",
        "csr",
        false,
        ALL,
        "",
        "approval status",
    ),
    ("coordination.k8s.io", "v1", "leases", "lease", "Lease", "", true, ALL, "", ""),
    ("discovery.k8s.io", "v1", "endpointslices", "endpointslice", "EndpointSlice", "", true, ALL, "", ""),
    ("networking.k8s.io", "v1", "ingressclasses", "ingressclass", "IngressClass", "", false, ALL, "", ""),
    ("networking.k8s.io", "v1", "ingresses", "ingress", "Ingress", "ing", true, ALL, "", STATUS),
    ("networking.k8s.io", "v1", "networkpolicies", "networkpolicy", "NetworkPolicy", "netpol", true, ALL, "", ""),
    ("node.k8s.io", "v1", "runtimeclasses", "runtimeclass", "RuntimeClass", "", false, ALL, "", ""),
    (
        "policy",
        "v1",
        "poddisruptionbudgets",
        "poddisruptionbudget",
        "PodDisruptionBudget",
        "pdb",
        true,
        ALL,
        "",
        STATUS,
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "clusterrolebindings",
        "clusterrolebinding",
        "ClusterRoleBinding",
        "",
        false,
        ALL,
        "",
        "",
    ),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "clusterrole", "ClusterRole", "", false, ALL, "", ""),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "rolebinding", "RoleBinding", "", true, ALL, "", ""),
    ("rbac.authorization.k8s.io", "v1", "roles", "role", "Role", "", true, ALL, "", ""),
    ("scheduling.k8s.io", "v1", "priorityclasses", "priorityclass", "PriorityClass", "pc", false, ALL, "", ""),
    ("storage.k8s.io", "v1", "csidrivers", "csidriver", "CSIDriver", "", false, ALL, "", ""),
    ("storage.k8s.io", "v1", "csinodes", "csinode", "CSINode", "", false, ALL, "", ""),
    ("storage.k8s.io", "v1", "storageclasses", "storageclass", "StorageClass", "sc", false, ALL, "", ""),
    ("storage.k8s.io", "v1", "volumeattachments", "volumeattachment", "VolumeAttachment", "", false, ALL, "", STATUS),
];

/// Name, kind, api version and verbs of a built-in subresource.
fn subresource(plural: &str, kind: &str, name: &str) -> Subresource {
    let (of, api_version, verbs) = match name {
        "attach" => ("PodAttachOptions", "v1", "create get"),
        "exec" => ("PodExecOptions", "v1", "create get"),
        "portforward" => ("PodPortForwardOptions", "v1", "create get"),
        "proxy" if plural == "pods" => ("PodProxyOptions", "v1", "create delete get patch update"),
        "proxy" if plural == "nodes" => ("NodeProxyOptions", "v1", "create delete get patch update"),
        "proxy" => ("ServiceProxyOptions", "v1", "create delete get patch update"),
        "binding" => ("Binding", "v1", "create"),
        "eviction" => ("Eviction", "policy/v1", "create"),
        "token" => ("TokenRequest", "authentication.k8s.io/v1", "create"),
        "scale" => ("Scale", "autoscaling/v1", "get patch update"),
        "log" => (kind, "", "get"),
        "finalize" => (kind, "", "update"),
        _ => (kind, "", "get patch update"),
    };
    Subresource { name: name.into(), kind: of.into(), api_version: api_version.into(), verbs: words(verbs) }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(Into::into).collect()
}

/// The built-in kinds.
pub fn built_in() -> Vec<Arc<Resource>> {
    BUILT_IN
        .iter()
        .map(|(group, version, plural, singular, kind, short, namespaced, verbs, categories, below)| {
            Arc::new(Resource {
                group: (*group).into(),
                version: (*version).into(),
                plural: (*plural).into(),
                singular: (*singular).into(),
                kind: (*kind).into(),
                short: words(short),
                namespaced: *namespaced,
                verbs: words(verbs),
                categories: words(categories),
                subresources: below.split_whitespace().map(|name| subresource(plural, kind, name)).collect(),
                custom: false,
            })
        })
        .collect()
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// What the store and error messages call it: `pods`, `deployments.apps`.
    pub fn id(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `PodList`.
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// Whether the resource, or its subresource, takes the verb.
    pub fn takes(&self, subresource: &str, verb: &str) -> bool {
        if subresource.is_empty() {
            return self.verbs.iter().any(|v| v == verb);
        }
        self.subresources.iter().any(|s| s.name == subresource && s.verbs.iter().any(|v| v == verb))
    }

    /// The entries of an APIResourceList: the resource and its subresources.
    pub fn listed(&self) -> Vec<Value> {
        let mut main = json!({"name": self.plural, "singularName": self.singular, "namespaced": self.namespaced, "kind": self.kind, "verbs": self.verbs});
        if !self.short.is_empty() {
            main["shortNames"] = json!(self.short);
        }
        if !self.categories.is_empty() {
            main["categories"] = json!(self.categories);
        }
        let mut all = vec![main];
        all.extend(self.subresources.iter().map(|s| {
            let mut entry = json!({"name": format!("{}/{}", self.plural, s.name), "singularName": "", "namespaced": self.namespaced, "kind": s.kind, "verbs": s.verbs});
            if let Some((group, version)) = s.api_version.split_once('/') {
                entry["group"] = json!(group);
                entry["version"] = json!(version);
            }
            entry
        }));
        all
    }

    /// The kinds that a CustomResourceDefinition serves.
    pub fn of_definition(definition: &Value) -> Vec<Arc<Resource>> {
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let list = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
        let names = &spec["names"];
        let kind = text(&names["kind"]);
        let mut all = Vec::new();
        for version in spec["versions"].as_array().into_iter().flatten().filter(|v| v["served"] == true) {
            let below = version["subresources"].as_object().into_iter().flatten().map(|(name, _)| Subresource {
                name: name.clone(),
                kind: if name == "scale" { "Scale".into() } else { kind.clone() },
                api_version: if name == "scale" { "autoscaling/v1".into() } else { String::new() },
                verbs: words("get patch update"),
            });
            all.push(Arc::new(Resource {
                group: text(&spec["group"]),
                version: text(&version["name"]),
                plural: text(&names["plural"]),
                singular: names["singular"].as_str().map_or_else(|| kind.to_lowercase(), Into::into),
                kind: kind.clone(),
                short: list(&names["shortNames"]),
                namespaced: spec["scope"] == "Namespaced",
                verbs: words("delete deletecollection get list patch create update watch"),
                categories: list(&names["categories"]),
                subresources: below.collect(),
                custom: true,
            }));
        }
        all
    }
}
