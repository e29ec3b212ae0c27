//! How the instance behind a node is ended: by the object that made it, or by the cloud's own program.

use kube::Client;
use serde_json::Value;

use super::Method;
use crate::cluster::{Cx, Fault, Problem, raw};
use crate::event::ObjectRef;

/// Cluster API's mark on a node (sigs.k8s.io/cluster-api api/core/v1beta2, MachineAnnotation, ClusterNamespaceAnnotation).
const MACHINE: &str = "cluster.x-k8s.io/machine";
const MACHINE_NAMESPACE: &str = "cluster.x-k8s.io/cluster-namespace";

/// What ends the instance.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    /// Deleting this object makes its controller end the instance; who makes another one, when somebody does.
    Object { object: ObjectRef, plural: &'static str, again: Option<String> },
    /// The program that was given.
    Program,
    /// Nothing; why.
    Nothing(String),
}

/// Finds it out, by what the cluster serves and by what was asked for.
pub(super) async fn find(cx: &Cx, node: &Value, method: Method, has_command: bool) -> Result<Found, Problem> {
    let auto = method == Method::Auto;
    if method == Method::Command || auto && has_command {
        return Ok(Found::Program);
    }
    if method == Method::None {
        return Ok(Found::Nothing("`method: none` leaves the instance to people".into()));
    }
    let mut looked = Vec::new();
    for (wanted, group, plural, kind) in [
        (Method::Machine, "cluster.x-k8s.io", "machines", "Machine"),
        (Method::Nodeclaim, "karpenter.sh", "nodeclaims", "NodeClaim"),
    ] {
        if !auto && method != wanted {
            continue;
        }
        match object(cx, node, group, plural, kind).await {
            Ok(Some((object, again))) => return Ok(Found::Object { object, plural, again }),
            Ok(None) => looked.push(format!("no {kind} of {group} is of it")),
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => looked.push(format!("{kind}s of {group} could not be read: {problem}")),
        }
    }
    looked.push("no `command` is given".into());
    Ok(Found::Nothing(looked.join(", ")))
}

/// The object of that kind which made the node; None when the cluster has none.
async fn object(
    cx: &Cx,
    node: &Value,
    group: &str,
    plural: &str,
    kind: &str,
) -> Result<Option<(ObjectRef, Option<String>)>, Problem> {
    let Some(version) = served(&cx.client, group).await? else { return Ok(None) };
    let base = format!("/apis/{group}/{version}");
    let annotation = |key: &str| node["metadata"]["annotations"][key].as_str();
    let all = match (annotation(MACHINE), annotation(MACHINE_NAMESPACE)) {
        (Some(name), Some(namespace)) if kind == "Machine" => {
            match raw::get(&cx.client, &format!("{base}/namespaces/{namespace}/{plural}/{name}")).await {
                Ok(machine) => vec![machine],
                Err(problem) if problem.fault == Fault::NotFound => Vec::new(),
                Err(problem) => return Err(problem),
            }
        }
        _ => raw::list(&cx.client, format!("{base}/{plural}")).await?.0,
    };
    let Some(found) = all.iter().find(|o| is_of(o, node)) else { return Ok(None) };
    let owner = found["metadata"]["ownerReferences"].as_array().into_iter().flatten().find(|o| o["controller"] == true);
    let pool = found["metadata"]["labels"]["karpenter.sh/nodepool"].as_str().map(|p| format!("NodePool {p}"));
    let again = owner
        .filter(|o| o["kind"] != "Node")
        .map(|o| format!("{} {}", o["kind"].as_str().unwrap_or_default(), o["name"].as_str().unwrap_or_default()))
        .or(pool);
    let object = ObjectRef {
        api_version: format!("{group}/{version}"),
        kind: kind.into(),
        namespace: found["metadata"]["namespace"].as_str().map(Into::into),
        name: found["metadata"]["name"].as_str().unwrap_or_default().into(),
        uid: found["metadata"]["uid"].as_str().map(Into::into),
    };
    Ok(Some((object, again)))
}

/// By the node's UID where the object has it, else by its name, and by the provider's own name of the instance.
fn is_of(object: &Value, node: &Value) -> bool {
    let (name, uid, provider) = (&node["metadata"]["name"], &node["metadata"]["uid"], &node["spec"]["providerID"]);
    let reference = &object["status"]["nodeRef"];
    if reference["uid"].is_string() {
        return reference["uid"] == *uid;
    }
    let by_name = |v: &Value| v.is_string() && v == name;
    let by_provider = |v: &Value| v.is_string() && v == provider;
    by_name(&reference["name"])
        || by_name(&object["status"]["nodeName"])
        || by_provider(&object["spec"]["providerID"])
        || by_provider(&object["status"]["providerID"])
}

/// The version of a group that the server prefers; None when it does not serve the group.
async fn served(client: &Client, group: &str) -> Result<Option<String>, Problem> {
    match raw::get(client, &format!("/apis/{group}")).await {
        Ok(found) => Ok(found["preferredVersion"]["version"].as_str().map(Into::into)),
        Err(problem) if problem.fault == Fault::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// The arguments with what is known of the node put in, each in its own place; no shell reads them.
///
/// # Errors
/// A word that stands for what the node does not say, or says in a way that a program might take for an option.
pub(super) fn filled(argv: &[String], node: &Value) -> Result<Vec<String>, String> {
    let provider = node["spec"]["providerID"].as_str().unwrap_or_default();
    let resource = provider.split_once("://").map_or("", |(_, rest)| rest);
    let label = |key: &str| node["metadata"]["labels"][key].as_str().unwrap_or_default();
    let words = [
        ("{node}", node["metadata"]["name"].as_str().unwrap_or_default()),
        ("{instance}", resource.rsplit('/').next().unwrap_or_default()),
        ("{resource}", resource),
        ("{zone}", label("topology.kubernetes.io/zone")),
        ("{region}", label("topology.kubernetes.io/region")),
    ];
    argv.iter()
        .map(|argument| {
            let mut out = argument.clone();
            for (word, value) in words.iter().filter(|(word, _)| argument.contains(word)) {
                if value.is_empty() {
                    return Err(format!("{word} is not known: the node's object does not say it"));
                }
                let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:".contains(c));
                if !plain || value.starts_with('-') {
                    return Err(format!("{word} is {value:?}, which is no plain name"));
                }
                out = out.replace(word, value);
            }
            Ok(out)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_are_filled_from_the_node_and_nothing_else_gets_in() {
        let argv = |all: &[&str]| all.iter().map(|a| (*a).to_string()).collect::<Vec<_>>();
        let node = json!({"metadata": {"name": "ip-10-0-0-1", "labels": {"topology.kubernetes.io/zone": "eu-north-1a"}},
            "spec": {"providerID": "aws:///eu-north-1a/i-0abc"}});
        assert_eq!(
            filled(&argv(&["aws", "ec2", "terminate-instances", "--instance-ids", "{instance}"]), &node).unwrap(),
            ["aws", "ec2", "terminate-instances", "--instance-ids", "i-0abc"]
        );
        assert_eq!(filled(&argv(&["x", "{node}@{zone}"]), &node).unwrap()[1], "ip-10-0-0-1@eu-north-1a");
        assert!(filled(&argv(&["x", "{region}"]), &node).unwrap_err().contains("not known"));
        let azure = json!({"metadata": {"name": "n"}, "spec": {"providerID": "azure:///subscriptions/s/vm/n"}});
        assert_eq!(filled(&argv(&["{resource}"]), &azure).unwrap(), ["/subscriptions/s/vm/n"]);
        for bad in ["aws:///zone/--all", "aws:///zone/a b", "aws:///zone/$(id)"] {
            let node = json!({"metadata": {"name": "n"}, "spec": {"providerID": bad}});
            assert!(filled(&argv(&["{instance}"]), &node).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_machine_is_the_nodes_by_uid_name_or_instance() {
        let node = json!({"metadata": {"name": "n", "uid": "u"}, "spec": {"providerID": "aws:///z/i-1"}});
        for (object, is) in [
            (json!({"status": {"nodeRef": {"name": "n", "uid": "u"}}}), true),
            (json!({"status": {"nodeRef": {"name": "n", "uid": "other"}}}), false),
            (json!({"status": {"nodeRef": {"name": "n"}}}), true),
            (json!({"spec": {"providerID": "aws:///z/i-1"}}), true),
            (json!({"status": {"nodeName": "n"}}), true),
            (json!({"status": {"nodeName": "m", "providerID": "aws:///z/i-2"}}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_of(&object, &node), is, "{object}");
        }
    }
}
