//! What selects a pod: policies, Services, budgets, its controller.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{QUARANTINE, policy_name};
use crate::cluster::{Cx, Problem, raw, selector};

/// What selects pods in the namespace.
pub struct Around {
    policies: Vec<Value>,
    services: Vec<Value>,
    budgets: Vec<Value>,
    /// The controlling owner reference; Null for a bare pod.
    pub owner: Value,
    owner_selector: Option<Value>,
    /// Names of the other pods that the owner controls.
    pub siblings: Vec<String>,
    /// What could not be read, and what follows from that.
    pub not_read: Vec<String>,
}

impl Around {
    /// Reads them.
    ///
    /// # Errors
    /// When the policies can't be read; the rest is said in [`Around::not_read`].
    pub async fn read(cx: &Cx, pod: &Value) -> Result<Around, Problem> {
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        let mut not_read = Vec::new();
        let (policies, _) =
            raw::list(&cx.client, &format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"))
                .await?;
        let mut lists = Vec::new();
        for (what, path) in [
            ("Services", format!("/api/v1/namespaces/{namespace}/services")),
            ("PodDisruptionBudgets", format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets")),
        ] {
            lists.push(match raw::list(&cx.client, &path).await {
                Ok((items, _)) => items,
                Err(problem) if cx.passes_on(&problem) => return Err(problem),
                Err(problem) => {
                    not_read.push(format!(
                        "{what} could not be read ({problem}): labels that they select may stay on the pod"
                    ));
                    Vec::new()
                }
            });
        }
        let budgets = lists.pop().unwrap_or_default();
        let services = lists.pop().unwrap_or_default();
        let owner = pod["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|o| o["controller"] == true)
            .cloned()
            .unwrap_or_default();
        let kind = owner["kind"].as_str().unwrap_or_default();
        let plural = match kind {
            "ReplicaSet" => "apis/apps/v1/namespaces/{}/replicasets",
            "StatefulSet" => "apis/apps/v1/namespaces/{}/statefulsets",
            "DaemonSet" => "apis/apps/v1/namespaces/{}/daemonsets",
            "Job" => "apis/batch/v1/namespaces/{}/jobs",
            _ => "",
        };
        let mut owner_selector = None;
        if !plural.is_empty() {
            let path = format!("/{}/{}", plural.replace("{}", namespace), owner["name"].as_str().unwrap_or_default());
            match raw::get(&cx.client, &path).await {
                Ok(object) => owner_selector = Some(object["spec"]["selector"].clone()),
                Err(problem) if cx.passes_on(&problem) => return Err(problem),
                Err(problem) => {
                    not_read.push(format!("{kind} could not be read ({problem}): every label is taken off instead"))
                }
            }
        }
        let mut siblings = Vec::new();
        if let Some(uid) = owner["uid"].as_str() {
            let (pods, _) = raw::list(&cx.client, &format!("/api/v1/namespaces/{namespace}/pods")).await?;
            siblings = owned(&pods, uid);
            siblings.retain(|name| pod["metadata"]["name"] != name.as_str());
        }
        Ok(Around { policies, services, budgets, owner, owner_selector, siblings, not_read })
    }

    /// The labels that keep the pod in somebody's selection. All of them, when the controller's selector is not known.
    pub fn keys_to_leave(&self, labels: &selector::Labels) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        match (&self.owner, &self.owner_selector) {
            (Value::Null, _) => {}
            (_, Some(found)) => keys.extend(selector::positive_keys(found)),
            (_, None) => keys.extend(labels.keys().cloned()),
        }
        for policy in &self.policies {
            if selector::matches(&policy["spec"]["podSelector"], labels) {
                keys.extend(selector::positive_keys(&policy["spec"]["podSelector"]));
            }
        }
        for budget in &self.budgets {
            if selector::matches(&budget["spec"]["selector"], labels) {
                keys.extend(selector::positive_keys(&budget["spec"]["selector"]));
            }
        }
        for service in &self.services {
            let plain = &service["spec"]["selector"];
            if plain.as_object().is_some_and(|m| !m.is_empty()) && selector::plain(plain, labels) {
                keys.extend(plain.as_object().into_iter().flatten().map(|(k, _)| k.clone()));
            }
        }
        keys.remove(QUARANTINE);
        keys
    }

    /// Policies, not our own, that select these labels and allow something.
    pub fn policies_on(&self, labels: &selector::Labels, cx: &Cx) -> Vec<String> {
        self.policies
            .iter()
            .filter(|p| p["metadata"]["name"].as_str() != Some(&policy_name(cx)))
            .filter(|p| selector::matches(&p["spec"]["podSelector"], labels))
            .filter(|p| {
                ["ingress", "egress"].iter().any(|way| p["spec"][way].as_array().is_some_and(|rules| !rules.is_empty()))
            })
            .filter_map(|p| p["metadata"]["name"].as_str().map(str::to_string))
            .collect()
    }

    /// Services that select these labels.
    pub fn services_on(&self, labels: &selector::Labels) -> Vec<&Value> {
        let selects = |service: &&Value| {
            let plain = &service["spec"]["selector"];
            plain.as_object().is_some_and(|m| !m.is_empty()) && selector::plain(plain, labels)
        };
        self.services.iter().filter(selects).collect()
    }
}

/// Names of the pods that an owner controls.
pub fn owned(pods: &[Value], uid: &str) -> Vec<String> {
    let is = |pod: &&Value| {
        let owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        owners.into_iter().any(|o| o["uid"] == uid && o["controller"] == true)
    };
    pods.iter().filter(is).filter_map(|p| p["metadata"]["name"].as_str()).map(Into::into).collect()
}
