//! From a name to exactly one pod, by UID.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::{Fault, Problem};
use crate::event::ObjectRef;

/// Finds the one pod: by its full name, else by the only name that begins so (as one copies it from a dashboard).
///
/// # Errors
/// [`Fault::Refused`] for none, for two, and for one whose UID is not `uid`: a replaced target is no new target.
pub async fn pod(client: &Client, namespace: &str, name: &str, uid: Option<&str>) -> Result<Pod, Problem> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = match api.get_opt(name).await? {
        Some(pod) => pod,
        None if uid.is_some() => return Err(gone(namespace, name)),
        None => by_prefix(&api, namespace, name).await?,
    };
    match uid {
        Some(uid) if found.uid().as_deref() != Some(uid) => Err(Problem::new(
            Fault::Refused,
            format!(
                "Pod {namespace}/{name} is not the one that was planned for: its UID is {}, not {uid}",
                found.uid().unwrap_or_default()
            ),
        )
        .hint("it was replaced by another pod of the same name: look at what is there, then plan anew")),
        _ => Ok(found),
    }
}

async fn by_prefix(api: &Api<Pod>, namespace: &str, name: &str) -> Result<Pod, Problem> {
    let all = api.list_metadata(&ListParams::default()).await?;
    let mut names: Vec<String> = all.items.iter().map(ResourceExt::name_any).collect();
    names.sort();
    let matches: Vec<&String> = names.iter().filter(|n| n.starts_with(name)).collect();
    match matches.as_slice() {
        [] => {
            let nearest =
                names.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
            let hint = match nearest {
                Some(near) if strsim::jaro_winkler(near, name) > 0.8 => format!("did you mean {near}?"),
                _ if names.is_empty() => {
                    format!("there is no pod at all in {namespace}: is it the right namespace (-n)?")
                }
                _ => format!("`kubectl -n {namespace} get pods` lists the {} pods there", names.len()),
            };
            Err(Problem::refused(format!("there is no pod {name:?} in namespace {namespace}")).hint(hint))
        }
        [one] => api.get_opt(one).await?.ok_or_else(|| gone(namespace, one)),
        several => Err(Problem::refused(format!(
            "{} pods in {namespace} have names that begin with {name:?}: {}",
            several.len(),
            several.iter().take(10).map(|s| s.as_str()).collect::<Vec<_>>().join(", ")
        ))
        .hint("name exactly one")),
    }
}

fn gone(namespace: &str, name: &str) -> Problem {
    Problem::refused(format!("Pod {namespace}/{name} is gone"))
        .hint("it was there when the target was resolved; plan anew")
}

/// The pod as an operation's object.
pub fn object(pod: &Pod) -> ObjectRef {
    ObjectRef {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: pod.namespace(),
        name: pod.name_any(),
        uid: pod.uid(),
    }
}
