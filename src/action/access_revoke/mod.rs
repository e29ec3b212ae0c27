//! `access.revoke`: takes an identity's rights and, where approved, its tokens and streams, and shows what is left.

mod change;
mod plan;
mod prove;
mod remaining;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Identity;
use super::{Action, Conclusion, Done, Kind, Problem, Rule, Scope, Spec, StepPlan};
use crate::cluster::Cx;
use crate::event::{Landed, Op, Risk, StepStatus};

/// Parameters of `access.revoke`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AccessRevoke {
    /// The outputs of an `access.identify` step.
    of: Value,
    /// Groups whose bindings go too: everybody in them loses those rights. None by default; what a group gives is shown.
    #[serde(default)]
    remove_groups: Vec<String>,
    /// Delete the service account's token Secrets, which have no end of their own. Default: true.
    #[serde(default = "yes")]
    token_secrets: bool,
    /// Delete pods whose own tokens it came with, which ends those tokens; capture such a pod first (pod-compromise).
    #[serde(default)]
    end_pods: bool,
    /// Delete pods that streams into are still open (exec, attach, port-forward): they outlive every right.
    #[serde(default)]
    end_streams: bool,
    /// Delete and make anew its service account: every token of it ends, and its pods must be restarted.
    #[serde(default)]
    recreate_account: bool,
    /// Seconds for which bindings that come back are watched for. Default: 10.
    #[serde(default = "ten")]
    watch_seconds: u64,
}

fn yes() -> bool {
    true
}

fn ten() -> u64 {
    10
}

const fn rule(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    scope: Scope,
    why: &'static str,
    optional: bool,
) -> Rule {
    Rule { group, resource, verbs, scope, why, optional }
}

const RBAC: &str = super::access::binding::GROUP;

impl Kind for AccessRevoke {
    const SPEC: Spec = Spec {
        name: "access.revoke",
        summary: "Removes an identity from every binding that names it, ends its tokens where approved, and shows what it still may",
        description: "Goes through every RoleBinding and ClusterRoleBinding. Where the identity is the only subject the binding is \
            deleted, else just that subject is taken out; each by UID, with the object kept for undo. What groups give is shown apart \
            and left, for others live by it. Then the bindings are watched for a while, and access reviews are made with the very \
            user, groups and extras, before and after. What has no revocation in Kubernetes is said with its end: client \
            certificates, system:masters, tokens for outside audiences, sessions of a cloud, streams that are open. Deleting token \
            Secrets, and with end-pods, end-streams and recreate-account what these name, is destructive: the plan shows it so.",
        // Of what it does by default; what ends a pod says in the plan that it destroys, and is approved by that.
        risk: Risk::High,
        undo: "bindings come back as they were, which takes the right to bind their roles; deleted tokens, pods and a deleted \
            account's UID do not come back",
        captures: false,
        rules: &[
            rule(
                RBAC,
                "rolebindings",
                &["get", "list", "watch", "patch", "delete"],
                Scope::Cluster,
                "finding the bindings that name it, and removing it",
                false,
            ),
            rule(
                RBAC,
                "clusterrolebindings",
                &["get", "list", "watch", "patch", "delete"],
                Scope::Cluster,
                "the same in the whole cluster",
                false,
            ),
            rule(RBAC, "rolebindings", &["create"], Scope::Cluster, "undo, where a binding was deleted", true),
            rule(RBAC, "clusterrolebindings", &["create"], Scope::Cluster, "undo, where a binding was deleted", true),
            rule(
                RBAC,
                "roles",
                &["bind"],
                Scope::Cluster,
                "the API server takes any edit of a binding, a removal too, for a grant of its role",
                true,
            ),
            rule(
                RBAC,
                "clusterroles",
                &["bind"],
                Scope::Cluster,
                "the API server takes any edit of a binding, a removal too, for a grant of its role",
                true,
            ),
            rule(
                "certificates.k8s.io",
                "certificatesigningrequests",
                &["list"],
                Scope::Cluster,
                "until when a client certificate is valid, where its request is still there",
                true,
            ),
            rule(
                "authorization.k8s.io",
                "subjectaccessreviews",
                &["create"],
                Scope::Cluster,
                "showing what it may do, before and after",
                false,
            ),
            rule(
                "",
                "secrets",
                &["list", "delete"],
                Scope::Target,
                "its token Secrets; their values are not read",
                true,
            ),
            rule(
                "",
                "pods",
                &["get", "watch", "delete"],
                Scope::Target,
                "pods whose tokens or streams are to end",
                true,
            ),
            rule("", "serviceaccounts", &["get", "delete", "create"], Scope::Target, "making its account anew", true),
            rule(
                "coordination.k8s.io",
                "leases",
                &["get", "create", "update", "delete"],
                Scope::Target,
                "the Lease that tells other responders who is at work on it",
                false,
            ),
        ],
        example: "id: revoke\ntitle: Take its rights\nuses: access.revoke\nwith:\n  of: ${{ steps.identify.outputs }}\n",
        outputs: &[
            ("allowed_before", "telling rights that it had"),
            (
                "allowed_after",
                "those that it still has, each with the API server's reason; null before the step has run",
            ),
            (
                "came_back",
                "bindings that named it again while they were watched, and who wrote them; null before the step has run",
            ),
            ("by_group", "bindings that give it rights by a group, who else is in it, and that they were left"),
            ("remaining", "what can't be revoked, until when it is valid, and what to do"),
            ("bindings", "the bindings that name it"),
        ],
    };
}

#[async_trait]
impl Action for AccessRevoke {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let identity = Identity::read(&self.of);
        if identity.username.is_none() {
            let warning = "who is to be cut off is not known yet: planned again when it is reached";
            let outputs = json!({
                "allowed_before": [], "allowed_after": null, "came_back": null, "by_group": [], "remaining": [], "bindings": [],
            });
            return Ok(StepPlan { outputs, warnings: vec![warning.into()], ..StepPlan::default() });
        }
        self.planned(cx, &identity).await
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let identity = Identity::read(&self.of);
        match op.detail["what"].as_str().unwrap_or_default() {
            "binding" => change::binding(cx, op, &identity, &self.remove_groups).await,
            "delete" => change::delete(cx, op).await,
            "create" => change::create(cx, op).await,
            "prove" => self.prove(cx, op, &identity).await,
            other => Err(Problem::internal(format!("no such operation: {other}"))),
        }
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        let identity = Identity::read(&self.of);
        match op.detail["what"].as_str().unwrap_or_default() {
            "binding" => change::binding_landed(cx, op, &identity, &self.remove_groups).await,
            "delete" => change::deleted(cx, op).await,
            "create" => change::created(cx, op).await,
            _ => Ok((Landed::No, None)),
        }
    }

    async fn undo(&self, cx: &Cx, op: &Op, _done: &Value) -> Result<Done, Problem> {
        change::put_back(cx, op).await
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let mut end = Conclusion::of(super::merged(plan_outputs, done), done);
        if done.is_empty() {
            end.status = StepStatus::Unproved;
            end.summary = "nobody was named: nothing was revoked".into();
        }
        end
    }
}
