//! What no change here ends: what it is, until when it is valid, and what to do.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::AccessRevoke;
use crate::action::access::Identity;
use crate::action::access::identity::{Credential, Stream};
use crate::action::node_inventory::own;
use crate::clock;
use crate::cluster::{Cx, Fault, Problem, raw};

/// After a pod's deletion its token is good for so long.
///
/// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens>
const LINGERS: &str = "60 s after its deletion";

/// A pod that a token is bound to, or that a stream goes into.
pub(super) enum Pod {
    /// As it is.
    There(Value),
    /// There is none of that name.
    Gone,
    /// Why it could not be asked.
    Unknown(String),
}

/// By namespace and name.
pub(super) struct Pods {
    found: BTreeMap<(String, String), Pod>,
    /// The account's namespace: a token's pod lies there.
    namespace: String,
}

impl Pods {
    /// Asks for each once.
    pub async fn look(cx: &Cx, identity: &Identity) -> Result<Pods, Problem> {
        let namespace = identity.service_account.as_ref().map(|a| a.namespace.clone()).unwrap_or_default();
        let bound = identity.credentials.iter().filter_map(|c| c.pod.as_ref());
        let bound = bound.map(|(name, _)| (namespace.clone(), name.clone()));
        let streams = identity.streams.iter().filter(|s| s.is_into_pod());
        let streams = streams.map(|s| (s.namespace.clone(), s.name.clone()));
        let mut found = BTreeMap::new();
        for (namespace, name) in bound.chain(streams) {
            if namespace.is_empty() || found.contains_key(&(namespace.clone(), name.clone())) {
                continue;
            }
            let pod = match raw::get(&cx.client, &format!("/api/v1/namespaces/{namespace}/pods/{name}")).await {
                Ok(pod) => Pod::There(pod),
                Err(problem) if problem.fault == Fault::NotFound => Pod::Gone,
                Err(problem) if cx.passes_on(&problem) => return Err(problem),
                Err(problem) => Pod::Unknown(problem.to_string()),
            };
            found.insert((namespace, name), pod);
        }
        Ok(Pods { found, namespace })
    }

    /// The pod of a bound token; another one of that name is none.
    pub fn of_token(&self, credential: &Credential) -> Option<&Pod> {
        let (name, uid) = credential.pod.as_ref()?;
        let pod = self.found.get(&(self.namespace.clone(), name.clone()))?;
        Some(match pod {
            Pod::There(pod) if pod["metadata"]["uid"] != uid.as_str() => &Pod::Gone,
            pod => pod,
        })
    }

    /// The pod that a stream goes into; one that was made after the stream began is another.
    pub fn of_stream(&self, stream: &Stream) -> Option<&Pod> {
        let pod = self.found.get(&(stream.namespace.clone(), stream.name.clone()))?;
        let later = |pod: &Value| {
            let made = pod["metadata"]["creationTimestamp"].as_str().and_then(|t| clock::parse(t).ok());
            made.zip(clock::parse(&stream.since).ok()).is_some_and(|(made, since)| made > since)
        };
        Some(match pod {
            Pod::There(pod) if later(pod) => &Pod::Gone,
            pod => pod,
        })
    }

    /// Tokens of pods that were used from an address that is neither their pod's nor its node's: somebody took them.
    pub fn elsewhere(&self, identity: &Identity) -> Vec<String> {
        let told = |credential: &Credential| {
            let Some(Pod::There(pod)) = self.of_token(credential) else { return None };
            let ips = ["podIPs", "hostIPs"].into_iter().flat_map(|k| pod["status"][k].as_array().into_iter().flatten());
            let own: BTreeSet<&str> =
                ips.filter_map(|ip| ip["ip"].as_str()).chain(pod["status"]["hostIP"].as_str()).collect();
            let strange: Vec<&str> =
                credential.addresses.iter().map(String::as_str).filter(|from| !own.contains(from)).collect();
            (!own.is_empty() && !strange.is_empty()).then(|| {
                format!(
                    "{} came from {}, which is neither that pod's nor its node's ({}): unless the network rewrites addresses, \
                     somebody took it out of the pod",
                    credential.words(),
                    strange.join(", "),
                    own.iter().copied().collect::<Vec<_>>().join(", ")
                )
            })
        };
        identity.credentials.iter().filter_map(told).collect()
    }

    /// Those that could not be asked for, in words.
    pub fn unknown(&self) -> impl Iterator<Item = String> {
        self.found.iter().filter_map(|((namespace, name), pod)| match pod {
            Pod::Unknown(why) => Some(format!("Pod {namespace}/{name} is not ended: {why}; -n sets the namespace")),
            _ => None,
        })
    }
}

/// When its client certificates end, by id: of those whose signing requests are still in the cluster.
pub(super) async fn ends_of_certificates(cx: &Cx, identity: &Identity) -> Result<BTreeMap<String, String>, Problem> {
    let mut all = BTreeMap::new();
    let ids: Vec<&str> = identity.credentials.iter().filter_map(|c| c.id.strip_prefix("X509SHA256=")).collect();
    if ids.is_empty() {
        return Ok(all);
    }
    let issued = match own::issued_certificates(cx).await {
        Ok(issued) => issued,
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(_) => return Ok(all),
    };
    for (fingerprint, until) in issued {
        if ids.contains(&fingerprint.as_str()) {
            all.insert(format!("X509SHA256={fingerprint}"), until);
        }
    }
    Ok(all)
}

impl AccessRevoke {
    pub(super) fn remaining(
        &self,
        identity: &Identity,
        pods: &Pods,
        certificates: &BTreeMap<String, String>,
    ) -> Vec<Value> {
        let mut all = Vec::new();
        let mut add = |what: &str, until: &str, way: &str| {
            let text = format!("{what}: valid {until}; {way}");
            all.push(json!({"what": what, "until": until, "way": way, "text": text}));
        };
        if identity.is_master() {
            let way = "no authorizer is asked about it; replace the CA, and until then keep it from the API server by network";
            add("membership of system:masters", "until its certificate ends", way);
        }
        for credential in &identity.credentials {
            self.credential(identity, credential, pods, certificates, &mut add);
        }
        let only_certificates =
            !identity.credentials.is_empty() && identity.credentials.iter().all(|c| c.id.starts_with("X509"));
        if identity.service_account.is_some() {
            let way = "whoever takes them outside the cluster must refuse the account there; so must the cloud's own sessions be ended";
            add("tokens for outside audiences", "until their own end", way);
        } else if identity.node.is_some() {
            let way = "the Node authorizer needs no binding: end the machine (node-compromise)";
            add("a node's own rights", "as long as its certificate is", way);
        } else if only_certificates {
            let way = "none was seen in the log; if an issuer knows the name, disable it there";
            add("any login of that name", "as long as its issuer takes it", way);
        } else {
            let way = "disable it at the identity provider or in the cloud's access list; tokens already issued go on to their end";
            add("its login", "as long as its issuer takes it", way);
        }
        for stream in identity.streams.iter().filter(|s| !self.cuts(s, identity, pods)) {
            let way = if stream.is_into_pod() {
                "rights are asked about at its begin alone; end the pod (end-streams), or restart the API server"
            } else {
                "rights are asked about at its begin alone; end the pod that it comes from (end-pods), or restart the API server"
            };
            add(&stream.words(), "until one side ends it", way);
        }
        all
    }

    fn credential(
        &self,
        identity: &Identity,
        credential: &Credential,
        pods: &Pods,
        certificates: &BTreeMap<String, String>,
        add: &mut impl FnMut(&str, &str, &str),
    ) {
        let what = credential.words();
        if credential.id.starts_with("X509") {
            let until = match certificates.get(&credential.id) {
                Some(at) => format!("until {at}"),
                None => "until its own end, which neither the log nor a signing request tells".to_owned(),
            };
            let way = "Kubernetes can't revoke it: it goes on to prove this name, so bind nothing to the name before then, \
                       or replace the CA";
            return add(&what, &until, way);
        }
        // Its Secret is deleted here, or it ends with the account.
        if credential.secret.is_some() && self.token_secrets
            || self.recreate_account && identity.service_account.is_some()
        {
            return;
        }
        let unknown_end = "until its own end, which the log does not tell";
        let until = credential.expires.as_ref().map_or_else(|| unknown_end.to_owned(), |at| format!("until {at}"));
        match (&credential.pod, pods.of_token(credential)) {
            // It is refused since then.
            (Some(_), Some(Pod::Gone)) => {}
            (Some(_), Some(Pod::There(_))) if self.end_pods => {}
            (Some((pod, _)), _) => {
                let until = format!("until Pod {pod} is gone, and at most {LINGERS}");
                add(&what, &until, "capture the pod and end it (pod-compromise), or set end-pods");
            }
            (None, _) if identity.service_account.is_some() => {
                add(&what, &until, "recreate-account ends every token of the account");
            }
            (None, _) => add(&what, &until, "end its sessions at its issuer"),
        }
    }

    /// Whether the end of a pod ends it: of the one that it goes into, or of the one that it comes from.
    fn cuts(&self, stream: &Stream, identity: &Identity, pods: &Pods) -> bool {
        let into = stream.is_into_pod();
        if into && matches!(pods.of_stream(stream), Some(Pod::Gone)) {
            return true;
        }
        if into && self.end_streams && matches!(pods.of_stream(stream), Some(Pod::There(_))) {
            return true;
        }
        let comes_from = |pod: &Pod| match pod {
            // A pod on its node's network shares that address with others.
            Pod::There(pod) => {
                pod["spec"]["hostNetwork"] != true
                    && pod["status"]["podIPs"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .any(|ip| ip["ip"] == stream.from.as_str())
            }
            _ => false,
        };
        self.end_pods && identity.credentials.iter().filter_map(|c| pods.of_token(c)).any(comes_from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::access::identity::Counted;
    use crate::action::test_cx;

    fn revoke(with: Value) -> AccessRevoke {
        let mut all = json!({"of": {}});
        all.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn stream(what: &str, name: &str, from: &str) -> Stream {
        Stream {
            what: what.into(),
            namespace: "shop".into(),
            name: name.into(),
            since: "2026-11-25T03:00:00Z".into(),
            from: from.into(),
            credential: "JTI=a".into(),
        }
    }

    /// A robot whose token is pod worker's, with a shell in victim from elsewhere, and a watch from worker.
    fn identity() -> Identity {
        let mut identity = Identity::named("system:serviceaccount:shop:robot", &[]);
        identity.addresses = vec![Counted { value: "10.1.0.9".into(), requests: 1 }];
        identity.credentials = vec![Credential {
            id: "JTI=a".into(),
            pod: Some(("worker".into(), "w".into())),
            addresses: vec!["10.1.0.9".into(), "10.1.0.5".into()],
            ..Credential::default()
        }];
        identity.streams = vec![stream("exec", "victim", "10.1.0.9"), stream("watch", "secrets", "10.1.0.5")];
        identity
    }

    async fn left(with: Value, pods: Value) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let cx = test_cx::cx(folder.path(), move |(_, path, _)| match &pods[path.rsplit('/').next().unwrap()] {
            Value::Null => test_cx::status(404, "NotFound", "none"),
            pod => (200, pod.clone()),
        });
        let identity = identity();
        let pods = Pods::look(&cx, &identity).await.unwrap();
        let elsewhere = pods.elsewhere(&identity);
        assert!(elsewhere.iter().all(|text| text.contains("came from 10.1.0.9, which")), "{elsewhere:?}");
        let all = revoke(with).remaining(&identity, &pods, &BTreeMap::new());
        let what = all.iter().map(|one| one["what"].as_str().unwrap().split(' ').next().unwrap().to_owned());
        what.filter(|what| what != "tokens").collect()
    }

    fn pod(name: &str, uid: &str, ip: &str, made: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "shop", "uid": uid, "creationTimestamp": made},
               "status": {"podIPs": [{"ip": ip}], "hostIP": "10.0.0.1"}})
    }

    #[tokio::test]
    async fn what_the_end_of_a_pod_cuts_is_not_said_to_stay_and_a_namesake_is_not_that_pod() {
        let before = "2026-11-25T02:00:00Z";
        let both =
            json!({"worker": pod("worker", "w", "10.1.0.5", before), "victim": pod("victim", "v", "10.1.0.7", before)});
        assert_eq!(left(json!({}), both.clone()).await, ["token", "exec", "watch"]);
        assert_eq!(left(json!({"end-pods": true}), both.clone()).await, ["exec"]);
        assert_eq!(left(json!({"end-streams": true}), both.clone()).await, ["token", "watch"]);
        assert_eq!(left(json!({"recreate-account": true}), both).await, ["exec", "watch"]);
        // Its pod is another by now, and so is the one that the shell was in.
        let after = "2026-11-25T04:00:00Z";
        let anew =
            json!({"worker": pod("worker", "x", "10.1.0.5", after), "victim": pod("victim", "y", "10.1.0.7", after)});
        assert_eq!(left(json!({}), anew).await, ["watch"]);
    }
}
