//! `secret.consumers`: who uses a Secret, who could read it, where it was, and where its value lies a second time.

pub(super) mod access;
pub(super) mod copies;
mod references;
pub(super) mod workloads;

use std::collections::BTreeSet;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::credential_inventory::{Looked, has_last_applied, look};
use super::sealed::Vault;
use super::secret_keeper::{keepers, keys, writers};
use super::secret_of::{SecretNow, secret_now};
use super::{Action, Conclusion, Done, Kind, Problem, Rule, Scope, Spec, StepPlan};
use crate::cluster::Cx;
use crate::event::{Label, Method, ObjectRef, Op, Proof, Risk, Source};
use crate::evidence::segment;

/// Parameters of `secret.consumers`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretConsumers {
    /// The Secret's name.
    secret: String,
    /// Its namespace; the namespace in force when absent.
    namespace: Option<String>,
    /// The keys that leaked; all of them when the list is empty.
    #[serde(default)]
    keys: Vec<String>,
    /// Where copies of the values are looked for: `namespace` (the default), or `cluster`, which takes the right to list
    /// every Secret.
    #[serde(default)]
    copies_in: Extent,
}

/// How far copies are looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Extent {
    /// In the Secret's namespace.
    #[default]
    Namespace,
    /// In the whole cluster.
    Cluster,
}

const fn lists(group: &'static str, resource: &'static str, scope: Scope, why: &'static str) -> Rule {
    Rule { group, resource, verbs: &["list"], scope, why, optional: true }
}

impl Kind for SecretConsumers {
    const SPEC: Spec = Spec {
        name: "secret.consumers",
        summary: "Finds who uses a Secret, who could read it, the nodes that hold it, and copies of its values",
        description: "Looks at every pod and template of the namespace (env, envFrom, volumes, projected, CSI, image pull \
            secrets), at service accounts, Ingresses, Gateways, volumes, and at custom resources of every kind by the shape \
            of their references; at every RBAC binding for who may read the Secret, make a pod that mounts it, exec into \
            one that holds it, mint a token of its account, impersonate or escalate; and for copies of the values, by \
            keyed digests. Lists are read by pages. The values are read once and sealed for undo: they are not shown, \
            logged or put into the bundle.",
        risk: Risk::Read,
        undo: "nothing to undo: it only reads",
        captures: false,
        rules: &[
            Rule {
                group: "",
                resource: "secrets",
                verbs: &["get"],
                scope: Scope::Target,
                why: "to know the Secret, and to compare its value",
                optional: false,
            },
            lists("", "secrets", Scope::Target, "to find copies of the value in the namespace"),
            lists("", "configmaps", Scope::Target, "to find copies of the value in the namespace"),
            lists("", "pods", Scope::Target, "to find the pods that hold the Secret"),
            lists("", "replicationcontrollers", Scope::Target, "to find templates that name the Secret"),
            lists("apps", "deployments", Scope::Target, "to find templates that name the Secret"),
            lists("apps", "statefulsets", Scope::Target, "to find templates that name the Secret"),
            lists("apps", "daemonsets", Scope::Target, "to find templates that name the Secret"),
            lists("apps", "replicasets", Scope::Target, "to find templates that name the Secret"),
            lists("batch", "jobs", Scope::Target, "to find templates that name the Secret"),
            lists("batch", "cronjobs", Scope::Target, "to find templates that name the Secret"),
            lists("", "serviceaccounts", Scope::Target, "to find service accounts that name the Secret"),
            lists(
                "networking.k8s.io",
                "ingresses",
                Scope::Target,
                "to find Ingresses that take their TLS from the Secret",
            ),
            lists("", "persistentvolumes", Scope::Cluster, "to find volumes whose driver reads the Secret"),
            lists(
                "storage.k8s.io",
                "storageclasses",
                Scope::Cluster,
                "to find storage classes whose driver reads the Secret",
            ),
            lists("rbac.authorization.k8s.io", "roles", Scope::Target, "to find who may read the Secret"),
            lists("rbac.authorization.k8s.io", "rolebindings", Scope::Target, "to find who may read the Secret"),
            lists("rbac.authorization.k8s.io", "clusterroles", Scope::Cluster, "to find who may read the Secret"),
            lists(
                "rbac.authorization.k8s.io",
                "clusterrolebindings",
                Scope::Cluster,
                "to find who may read the Secret",
            ),
            lists(
                "gateway.networking.k8s.io",
                "gateways",
                Scope::Cluster,
                "to find Gateways that take their TLS from the Secret",
            ),
            lists(
                "secrets-store.csi.x-k8s.io",
                "secretproviderclasses",
                Scope::Cluster,
                "to find what fills the Secret",
            ),
            lists("external-secrets.io", "externalsecrets", Scope::Cluster, "to find what fills or pushes the Secret"),
            lists("external-secrets.io", "secretstores", Scope::Cluster, "to find stores that log in with the Secret"),
            lists(
                "external-secrets.io",
                "clustersecretstores",
                Scope::Cluster,
                "to find stores that log in with the Secret",
            ),
            lists("cert-manager.io", "certificates", Scope::Cluster, "to find what fills the Secret"),
            lists("cert-manager.io", "issuers", Scope::Cluster, "to find issuers that sign with the Secret"),
            lists("cert-manager.io", "clusterissuers", Scope::Cluster, "to find issuers that sign with the Secret"),
        ],
        example: "id: consumers\ntitle: Who can read it\nuses: secret.consumers\nwith:\n  secret: ${{ inputs.secret }}\n  namespace: ${{ inputs.namespace }}\n",
        outputs: &[
            ("secret", "the Secret: namespace, name, uid, type, immutable"),
            ("keys", "the keys that leaked"),
            ("pods", "number of running pods that hold it"),
            ("workloads", "names of the templates that use it, as Kind/name"),
            ("readers", "number of identities that could read it, directly or through something else"),
            ("nodes", "nodes that have it now"),
            ("accounts", "service accounts of the pods that hold it"),
            ("copies", "number of other objects with the same value"),
            ("digest", "keyed digest of all its values: changes when it is edited"),
            ("version", "its resourceVersion when it was looked at"),
            ("inventory", "path of the artifact with all of it"),
        ],
    };
}

#[async_trait]
impl Action for SecretConsumers {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let namespace = self.namespace.as_deref().unwrap_or(&cx.namespace);
        let mut plan = StepPlan::default();
        let mut object = ObjectRef {
            api_version: "v1".into(),
            kind: "Secret".into(),
            namespace: Some(namespace.into()),
            name: self.secret.clone(),
            uid: None,
        };
        match look(cx, namespace, &self.secret).await? {
            Looked::Found(meta) => {
                object.uid = meta.uid.clone();
                let known = keys(&meta);
                if let Some(unknown) = self.keys.iter().find(|k| !known.is_empty() && !known.contains(k)) {
                    plan.blockers.push(format!("{object} has no key {unknown:?}; it has {}", known.join(", ")));
                }
                for keeper in keepers(&meta) {
                    plan.warnings.push(format!("{object} is kept by {}: {}", keeper.who, keeper.how));
                }
                if has_last_applied(&meta) {
                    plan.warnings.push(format!(
                        "`kubectl apply` keeps a copy of {object}'s values in an annotation of it; whoever may read the \
                         one may read the other"
                    ));
                }
            }
            Looked::Missing => plan.blockers.push(format!("there is no {object}")),
            Looked::Forbidden => plan.blockers.push(format!("you may not get {object}")),
        }
        plan.outputs = json!({
            "secret": { "namespace": namespace, "name": self.secret, "uid": object.uid }, "keys": self.keys,
            "pods": null, "workloads": [], "readers": null, "nodes": [], "accounts": [], "copies": null, "digest": null,
            "version": null, "inventory": null,
        });
        let copies = match self.copies_in {
            Extent::Namespace => "in the namespace",
            Extent::Cluster => "in the whole cluster",
        };
        let summary = format!(
            "find who uses {object} and who could read it, and copies of its values {copies}; seal its values here for undo"
        );
        plan.ops.push(Op::observe(object, summary));
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let path = format!("data/{}/consumers.json", segment(&cx.step));
        if let Some(document) = cx.store.adopt_json(&path) {
            return Ok(done(&document));
        }
        let started = cx.clock.now();
        let namespace = op.object.namespace.clone().unwrap_or_default();
        let SecretNow { meta, kind, immutable, values, .. } =
            secret_now(cx, &namespace, &self.secret, op.object.uid.as_deref()).await?;
        let vault = Vault::open(cx)?;
        // The first one counts: a later try may find it changed already.
        if !Vault::has(cx, "old") {
            vault.put("old", &values)?;
        }
        let exposed = if self.keys.is_empty() { values.keys() } else { self.keys.clone() };
        let references = references::find(cx, &namespace, &self.secret).await?;
        let copied = copies::find(
            cx,
            &namespace,
            &vault,
            &values,
            &exposed,
            meta.uid.as_deref().unwrap_or_default(),
            self.copies_in == Extent::Cluster,
        );
        let used = workloads::find(cx, &namespace, &self.secret, &references.classes);
        let (found, rbac, (copies, unsearched)) =
            futures::future::try_join3(used, access::read(cx, &namespace), copied).await?;
        let pods: BTreeSet<String> = found.pods.iter().map(|p| p.name.clone()).collect();
        let accounts: BTreeSet<String> = found.pods.iter().map(|p| p.service_account.clone()).collect();
        let nodes: BTreeSet<&String> = found.pods.iter().filter_map(|p| p.node.as_ref()).collect();
        let asked = access::Asked { secret: &self.secret, accounts: &accounts, pods: &pods };
        let mut left = rbac.not_read.clone();
        let identities = access::identities(rbac, &asked);
        left.extend(unsearched);
        left.extend(found.not_read.iter().chain(&references.not_read).cloned());
        let keepers = keepers(&meta);
        let document = json!({
            "secret": {
                "namespace": namespace, "name": self.secret, "uid": meta.uid, "type": kind, "immutable": immutable,
                "keys": values.keys(),
            },
            "version": meta.resource_version,
            "exposed_keys": exposed,
            "digest": vault.digest_of(&values),
            "keepers": keepers,
            "last_writers": writers(&meta),
            "kubectl_keeps_a_copy": has_last_applied(&meta),
            "workloads": found.workloads,
            "pods": found.pods,
            "pods_seen": found.pods_seen,
            "nodes": nodes,
            "accounts": accounts,
            "references": references.references,
            "identities": identities,
            "copies": copies,
            "copies_looked_for_in": if self.copies_in == Extent::Cluster { "cluster" } else { "namespace" },
            "kinds_searched": references.searched,
            "not_read": left,
            "not_known": [
                "who held it before: pods and nodes of the past, unless the audit log tells",
                "etcd and its backups, other authorizers than RBAC, who may read a node's disk",
                "copies outside the cluster: Git, CI, laptops, chat",
            ],
            "artifact": path,
        });
        let label = Label {
            title: "who uses the Secret, who could read it, and copies of its values; no values".into(),
            media_type: "application/json".into(),
            source: Source { object: op.object.clone(), container: None, what: "consumers".into() },
            method: Method::api(
                "lists by pages; values compared by keyed digests",
                vec!["secrets".into(), "pods".into()],
            ),
            started,
        };
        cx.store.put_json(&path, label, cx.clock, &document, Vec::new())?;
        Ok(done(&document))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        Conclusion::of(super::merged(plan_outputs, done), done)
    }
}

fn done(document: &Value) -> Done {
    let count = |key: &str| document[key].as_array().map_or(0, Vec::len);
    let texts =
        |key: &str| -> Vec<&str> { document[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    let identities = document["identities"].as_array().cloned().unwrap_or_default();
    let with = |power: &str| {
        identities.iter().filter(|i| i["powers"].as_array().is_some_and(|p| p.iter().any(|p| p == power))).count()
    };
    let workloads: Vec<String> = document["workloads"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|w| format!("{}/{}", w["kind"].as_str().unwrap_or_default(), w["name"].as_str().unwrap_or_default()))
        .collect();
    let copies: Vec<String> = document["copies"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| {
            let text = |k: &str| c[k].as_str().unwrap_or_default().to_owned();
            format!("{} {}/{} key {}", text("kind"), text("namespace"), text("name"), text("key"))
        })
        .collect();
    let plural = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let pods = match count("pods") {
        0 => "no running pod holds it".to_owned(),
        1 => "1 pod holds it".into(),
        n => format!("{n} pods on {} hold it", plural(count("nodes"), "node", "nodes")),
    };
    let templates = match count("workloads") {
        0 => "no template uses it".to_owned(),
        1 => format!("1 template uses it ({})", short(&workloads)),
        n => format!("{n} templates use it ({})", short(&workloads)),
    };
    let references = match count("references") {
        0 => "no other object names it".to_owned(),
        1 => "1 other object names it".into(),
        n => format!("{n} other objects name it"),
    };
    let found = format!(
        "{pods}; {templates}; {references}; {} could read it, {} more by way of a pod, a token or another's name; {}",
        plural(with("read"), "identity", "identities"),
        identities.len() - with("read"),
        match copies.as_slice() {
            [] => {
                format!(
                    "no copy of its values in the {}",
                    document["copies_looked_for_in"].as_str().unwrap_or_default()
                )
            }
            some => format!("copies of its values: {}", short(some)),
        }
    );
    let left = texts("not_read");
    let proof = if left.is_empty() {
        Proof::Verified(format!("{found}; by what the API shows now"))
    } else {
        Proof::Unproved(format!("{found}; not read: {}", left.join("; ")))
    };
    let observed = json!({
        "secret": document["secret"],
        "keys": document["exposed_keys"],
        "pods": count("pods"),
        "workloads": workloads,
        "readers": identities.len(),
        "nodes": document["nodes"],
        "accounts": document["accounts"],
        "copies": copies.len(),
        "digest": document["digest"],
        "version": document["version"],
        "inventory": document["artifact"],
    });
    Done::taken(found, Some(proof), observed)
}

/// The first few, and how many more.
fn short(names: &[String]) -> String {
    let shown = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown} and {} more", names.len() - 5) } else { shown }
}
