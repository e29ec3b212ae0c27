//! What will be removed, what is left on purpose, and what can't be revoked.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::remaining::{self, Pod, Pods};
use super::{AccessRevoke, change};
use crate::action::StepPlan;
use crate::action::access::{Identity, binding, may};
use crate::cluster::{Cx, Problem, raw};
use crate::event::{Guarded, ObjectRef, Op, OpKind, Risk, Undo};

/// Where the control plane keeps its own; the engine's guard knows a team's beside.
const PROTECTED: &[&str] = &["kube-system", "kube-public", "kube-node-lease"];
/// Groups to which the API server's own default bindings give a little.
const EVERYBODY: &[&str] = &["system:authenticated", "system:unauthenticated", "system:serviceaccounts"];

impl AccessRevoke {
    pub(super) async fn planned(&self, cx: &Cx, identity: &Identity) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        let username = identity.username.clone().unwrap_or_default();
        match may::ourselves(cx).await {
            Some(us) if us == username => {
                plan.blockers.push(format!("{username} is you: quell would take its own rights before it is done"));
            }
            Some(_) => {}
            None => plan.warnings.push("whether that is you yourself could not be asked".into()),
        }
        let bindings = binding::all(cx).await?;
        let mut namespaces: BTreeSet<String> = identity.used.iter().map(|u| u.namespace.clone()).collect();
        namespaces.insert(cx.namespace.clone());
        let (mut named, mut by_group) = (Vec::new(), Vec::new());
        for found in &bindings {
            self.group_given(found, identity, &mut by_group);
            let going = binding::going(found, identity, &self.remove_groups);
            if going.is_empty() {
                continue;
            }
            let op = self.binding_op(found, identity, &going);
            for restorer in binding::restorers(found) {
                plan.warnings.push(format!("{}: {restorer}", op.object));
            }
            namespaces.extend(op.object.namespace.clone());
            named.push(format!("{} ({})", op.object, binding::role(found)));
            let answer = change::send(cx, &op, found, &going, true).await.map(|_| ());
            plan.hear(cx, &op.summary, answer)?;
            plan.ops.push(op);
        }
        self.tokens(cx, identity, &mut plan).await?;
        let pods = Pods::look(cx, identity).await?;
        self.ends(identity, &pods, &mut plan);
        self.anew(cx, identity, &mut plan).await?;
        let elsewhere = pods.elsewhere(identity);
        plan.warnings.extend(elsewhere.iter().cloned());
        let certificates = remaining::ends_of_certificates(cx, identity).await?;
        let remaining = self.remaining(identity, &pods, &certificates);
        plan.warnings.extend(remaining.iter().filter_map(|r| r["text"].as_str().map(str::to_owned)));
        for given in &by_group {
            plan.warnings.push(given["text"].as_str().unwrap_or_default().to_owned());
        }
        namespaces.remove("");
        let questions = may::questions(identity, &namespaces);
        let before = may::allowed(cx, identity, &questions).await?;
        let before: Vec<String> = before.iter().map(|(used, _)| may::text(used)).collect();
        let target = ObjectRef { namespace: None, ..identity.object() };
        let summary = format!(
            "watch for {} s whether {username} is bound again, and ask what it still may ({} of {} telling rights now)",
            self.watch_seconds,
            before.len(),
            questions.len()
        );
        let mut op = Op::observe(target, summary);
        let texts = |all: &[Value]| all.iter().map(|one| one["text"].clone()).collect::<Vec<_>>();
        op.detail = json!({
            "what": "prove", "questions": questions, "left": texts(&by_group), "remaining": texts(&remaining),
            "elsewhere": elsewhere,
        });
        plan.ops.push(op);
        self.as_one(cx, identity, &mut plan);
        plan.outputs = json!({
            "allowed_before": before, "allowed_after": null, "came_back": null, "by_group": by_group,
            "remaining": remaining, "bindings": named,
        });
        Ok(plan)
    }

    /// One identity is one target, wherever its bindings lie: one Lease, in the namespace in force. What lies in a
    /// protected namespace is guarded all the same.
    fn as_one(&self, cx: &Cx, identity: &Identity, plan: &mut StepPlan) {
        let username = identity.username.clone().unwrap_or_default();
        // The account is made anew alone, one after the other: its end must not be followed by nothing.
        let together = |op: &&mut Op| op.kind == OpKind::Change && op.detail["account"].is_null();
        for op in plan.ops.iter_mut().filter(together) {
            let namespace = op.object.namespace.as_deref().unwrap_or_default();
            if PROTECTED.contains(&namespace) && op.risk < Risk::Destructive {
                let why = format!("changes {} in a protected namespace", op.object);
                op.guards.push(Guarded { guard: "protected-namespace".into(), why });
            }
            op.part_of = Some(ObjectRef {
                api_version: "rbac.authorization.k8s.io/v1".into(),
                kind: "User".into(),
                namespace: Some(cx.namespace.clone()),
                name: username.clone(),
                uid: Some(format!("user:{username}")),
            });
        }
    }

    fn binding_op(&self, found: &Value, identity: &Identity, going: &[usize]) -> Op {
        let object = binding::object(found);
        let subjects = found["subjects"].as_array().cloned().unwrap_or_default();
        let rest: Vec<&Value> =
            subjects.iter().enumerate().filter(|(at, _)| !going.contains(at)).map(|(_, s)| s).collect();
        let who = identity.username.as_deref().unwrap_or_default();
        let (verb, text) = if rest.is_empty() {
            ("delete", format!("delete {object}, which gives {} to {who} alone", binding::role(found)))
        } else {
            (
                "patch",
                format!(
                    "take {who} out of {object} ({}); {}",
                    binding::role(found),
                    match rest.len() {
                        1 => "its other subject stays".to_owned(),
                        n => format!("its {n} other subjects stay"),
                    }
                ),
            )
        };
        let undo = Undo::Automatic("the subjects as they were; it takes the right to bind that role".into());
        let mut op = Op::change(verb, object, text, Risk::High, undo);
        op.before = json!({"subjects": subjects, "roleRef": found["roleRef"]});
        op.after = if rest.is_empty() { Value::Null } else { json!({"subjects": rest}) };
        let mut prior = found.clone();
        if let Some(meta) = prior["metadata"].as_object_mut() {
            meta.remove("managedFields");
        }
        op.detail = json!({"what": "binding", "key": "revoke", "prior": prior});
        op
    }

    /// What a group gives is shown with who else would lose it.
    fn group_given(&self, found: &Value, identity: &Identity, all: &mut Vec<Value>) {
        let namespace = found["metadata"]["namespace"].as_str();
        for subject in found["subjects"].as_array().into_iter().flatten() {
            let Some(binding::Way::Group(group)) = binding::way(subject, namespace, identity) else { continue };
            // What every cluster gives to all of its users is no finding.
            if EVERYBODY.contains(&group.as_str())
                && found["metadata"]["labels"]["kubernetes.io/bootstrapping"].is_string()
                || self.remove_groups.contains(&group)
            {
                continue;
            }
            let others = match (group.as_str(), identity.group_members.get(&group)) {
                ("system:authenticated", _) => "every user of the cluster".to_owned(),
                ("system:serviceaccounts", _) => "every service account".to_owned(),
                (g, _) if g.starts_with("system:serviceaccounts:") => {
                    format!("every service account of {}", g.trim_start_matches("system:serviceaccounts:"))
                }
                (_, Some(members)) if !members.is_empty() => {
                    let known: Vec<&str> = members.iter().map(String::as_str).collect();
                    format!("at least {}; the API server does not know a group's members", known.join(", "))
                }
                _ => "others that the API server does not know".to_owned(),
            };
            let object = binding::object(found);
            let text = format!(
                "{object} ({}) gives it rights by group {group} and is left: {others} would lose them too; \
                 take it out of the group at its issuer, or name the group in remove-groups",
                binding::role(found)
            );
            all.push(json!({"binding": object, "group": group, "others": others, "text": text}));
        }
    }

    async fn tokens(&self, cx: &Cx, identity: &Identity, plan: &mut StepPlan) -> Result<(), Problem> {
        let Some(account) = identity.service_account.as_ref().filter(|_| self.token_secrets) else { return Ok(()) };
        let api: Api<Secret> = Api::namespaced(cx.client.clone(), &account.namespace);
        let params = ListParams::default().fields("type=kubernetes.io/service-account-token");
        // Metadata alone: the values never come here.
        match api.list_metadata(&params).await.map_err(Problem::from) {
            Ok(list) => {
                let of = |meta: &kube::api::ObjectMeta| {
                    meta.annotations.as_ref().and_then(|a| a.get("kubernetes.io/service-account.name")).cloned()
                };
                for found in list.items.iter().filter(|s| of(&s.metadata).as_ref() == Some(&account.name)) {
                    let object = ObjectRef {
                        api_version: "v1".into(),
                        kind: "Secret".into(),
                        namespace: Some(account.namespace.clone()),
                        name: found.metadata.name.clone().unwrap_or_default(),
                        uid: found.metadata.uid.clone(),
                    };
                    let why = "its token is not kept and must not come back; make a new Secret for whoever needs one";
                    plan.ops.push(delete_op(object, "a token of it without an end", why));
                }
            }
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => plan.warnings.push(format!(
                "whether there are token Secrets of it in {} is not known: {problem}; -n sets the namespace",
                account.namespace
            )),
        }
        Ok(())
    }

    async fn anew(&self, cx: &Cx, identity: &Identity, plan: &mut StepPlan) -> Result<(), Problem> {
        let Some(account) = identity.service_account.as_ref().filter(|_| self.recreate_account) else { return Ok(()) };
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{}", account.namespace, account.name);
        let found = raw::get(&cx.client, &path).await?;
        let object = ObjectRef { uid: found["metadata"]["uid"].as_str().map(Into::into), ..identity.object() };
        let why = "a new account has another UID: tokens of the old one stay dead, which is what it is for";
        let mut delete = delete_op(object.clone(), "every token of it ends", why);
        delete.detail["account"] = json!(true);
        let text = format!("make {object} anew; its pods must be restarted to get tokens of it");
        let new = ObjectRef { uid: None, ..object.clone() };
        let mut create = Op::change("create", new, text, Risk::High, Undo::NotNeeded);
        create.detail = json!({"what": "create", "account": true, "old": object.uid, "manifest": change::anew(&found)});
        plan.ops.extend([delete, create]);
        Ok(())
    }

    /// The pods that its tokens are bound to, where they are to end; and those that streams into are open.
    fn ends(&self, identity: &Identity, pods: &Pods, plan: &mut StepPlan) {
        let mut end = |pod: &Value, why: &str| {
            let text = |key: &str| pod["metadata"][key].as_str().map(str::to_owned);
            let object = ObjectRef {
                api_version: "v1".into(),
                kind: "Pod".into(),
                namespace: text("namespace"),
                name: text("name").unwrap_or_default(),
                uid: text("uid"),
            };
            if !plan.ops.iter().any(|op| op.object == object) {
                plan.ops.push(delete_op(object, why, "the pod's memory and writable layer are gone"));
            }
        };
        if self.end_pods {
            for credential in &identity.credentials {
                if let Some(Pod::There(pod)) = pods.of_token(credential) {
                    end(pod, "the token that it came with is that pod's");
                }
            }
        }
        if self.end_streams {
            for stream in identity.streams.iter().filter(|s| s.is_into_pod()) {
                if let Some(Pod::There(pod)) = pods.of_stream(stream) {
                    end(pod, &format!("a stream ({}) into it may be open since {}", stream.what, stream.since));
                }
            }
        }
        plan.warnings.extend(pods.unknown().filter(|_| self.end_pods || self.end_streams));
    }
}

fn delete_op(object: ObjectRef, why: &str, impossible: &str) -> Op {
    let text = format!("delete {object}: {why}");
    let mut op = Op::change("delete", object, text, Risk::Destructive, Undo::Impossible(impossible.into()));
    op.detail = json!({"what": "delete"});
    op
}
