//! Lives of pods on the node, from the requests in their order: made, bound, told to go; joined with what was told of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::told::{Span, Told};
use crate::action::node_inventory::own;
use crate::audit::Event;
use crate::audit::event::Origin;

/// Manifests that are kept: one for each pod that was made by name, and one for each name that the server completed.
const MAX_MANIFESTS: usize = 20_000;
/// Random characters that the API server puts behind `generateName` (k8s.io/apiserver pkg/storage/names).
const SUFFIX: usize = 5;

/// One pod's time on the node.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// When it was bound to the node, and by whom.
    pub bound: Option<(OffsetDateTime, String)>,
    /// Told to go: when, by whom, how.
    pub told_to_go: Option<(OffsetDateTime, String, &'static str)>,
    /// When its kubelet confirmed its end.
    pub ended: Option<OffsetDateTime>,
    pub seen: Option<Span>,
    pub account: Option<String>,
    pub images: BTreeSet<(String, String)>,
    pub by: BTreeSet<&'static str>,
    pub manifest: Option<(Value, From)>,
}

impl Life {
    fn new(namespace: &str, name: &str, uid: &str) -> Life {
        Life {
            namespace: namespace.into(),
            name: name.into(),
            uid: uid.into(),
            bound: None,
            told_to_go: None,
            ended: None,
            seen: None,
            account: None,
            images: BTreeSet::new(),
            by: BTreeSet::new(),
            manifest: None,
        }
    }

    fn is(&self, namespace: &str, name: &str, uid: &str) -> bool {
        self.namespace == namespace && self.name == name && (self.uid.is_empty() || uid.is_empty() || self.uid == uid)
    }

    /// When it was on the node for certain.
    pub fn span(&self) -> Option<Span> {
        let mut span = self.seen;
        for at in self.bound.iter().map(|b| b.0).chain(self.told_to_go.iter().map(|t| t.0)).chain(self.ended) {
            match &mut span {
                Some(span) => span.add(Span::at(at)),
                None => span = Some(Span::at(at)),
            }
        }
        span
    }
}

/// Where a pod's manifest came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The API server's answer when it was made.
    Answer,
    /// What was asked for by its very name, before the API server's defaults.
    Asked,
    /// What was asked for under the name that the server completed: a sibling's of the same owner, or its own.
    Sibling,
}

/// What is gathered, request by request, in the order in which they were received.
#[derive(Default)]
pub(super) struct Lives {
    pub lives: Vec<Life>,
    /// Latest life by namespace and name.
    by_name: HashMap<(String, String), Vec<usize>>,
    manifests: HashMap<(String, String, bool), (Value, From, OffsetDateTime)>,
    /// Bindings that do not say to which node: namespace, name, UID, time, by whom.
    nowhere: Vec<(String, String, String, OffsetDateTime, String)>,
    /// Bindings of any pod to any node.
    pub bindings: u64,
    /// Bindings whose node is told by nothing.
    pub untold: u64,
    /// Requests that made, bound or ended a pod of the node, by where their lines lie.
    pub origins: BTreeSet<Origin>,
    pub more: bool,
}

impl Lives {
    /// Takes a request that was let through.
    pub fn add(&mut self, event: &Event<'_>, node: &str) {
        if event.succeeded() != Some(true) || event.dry_run() {
            return;
        }
        let resource = event.object.as_ref().map_or("", |o| o.resource.as_ref());
        let user = event.effective_user().username.to_string();
        match (resource, event.subresource(), event.verb.as_ref()) {
            ("pods", "", "create") => self.made(event, node, user),
            ("pods", "binding", "create") | ("bindings", "", "create") => self.bound(event, node, user),
            ("pods", "eviction", "create") => self.told_to_go(event, node, user, "evicted"),
            ("pods", "", "delete") => self.told_to_go(event, node, user, "deleted"),
            _ => {}
        }
    }

    fn life(&mut self, namespace: &str, name: &str, uid: &str) -> &mut Life {
        let all = self.by_name.entry((namespace.into(), name.into())).or_default();
        let lives = &mut self.lives;
        let found = all.iter().rev().copied().find(|at| lives[*at].is(namespace, name, uid));
        let at = found.unwrap_or_else(|| {
            lives.push(Life::new(namespace, name, uid));
            all.push(lives.len() - 1);
            lives.len() - 1
        });
        if lives[at].uid.is_empty() {
            lives[at].uid = uid.into();
        }
        &mut lives[at]
    }

    /// A new one by that name, unless it is known by its UID.
    fn begin(&mut self, namespace: &str, name: &str, uid: &str) -> &mut Life {
        let known = !uid.is_empty() && self.lives.iter().any(|l| l.uid == uid);
        if !known {
            self.lives.push(Life::new(namespace, name, uid));
            self.by_name.entry((namespace.into(), name.into())).or_default().push(self.lives.len() - 1);
        }
        self.life(namespace, name, uid)
    }

    fn made(&mut self, event: &Event<'_>, node: &str, user: String) {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let answer = event.response().filter(|r| r["spec"]["containers"].is_array());
        let asked = event.request().filter(|r| r["spec"]["containers"].is_array());
        let namespace = event.namespace().to_owned();
        let answered = answer.is_some();
        let Some(body) = answer.or(asked) else { return };
        let name = match text(&body["metadata"]["name"]) {
            name if name.is_empty() => event.name().to_owned(),
            name => name,
        };
        let generate = text(&body["metadata"]["generateName"]);
        let (key, from) = match (name.is_empty(), generate.is_empty()) {
            (false, _) => ((namespace.clone(), name.clone(), false), if answered { From::Answer } else { From::Asked }),
            (true, false) => ((namespace.clone(), generate, true), From::Sibling),
            (true, true) => return,
        };
        if self.manifests.len() < MAX_MANIFESTS || self.manifests.contains_key(&key) {
            self.manifests.insert(key, (pared(&body, &namespace, answered), from, event.received));
        } else {
            self.more = true;
        }
        // A pod that names its node is never bound.
        if body["spec"]["nodeName"] == node && !name.is_empty() {
            self.origins.insert(event.origin);
            let is_static = body["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string();
            let manifest = self.manifest(&namespace, &name, event.received);
            let life = self.begin(&namespace, &name, &text(&body["metadata"]["uid"]));
            life.bound = Some((event.received, user));
            life.manifest = manifest;
            life.by.insert(if is_static {
                "its kubelet announced it: a static pod"
            } else {
                "it was made with the node's name in it"
            });
        }
    }

    fn bound(&mut self, event: &Event<'_>, node: &str, user: String) {
        self.bindings += 1;
        let body = event.request().unwrap_or_default();
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let named = event.object.as_ref().map(|o| o.uid.to_string()).unwrap_or_default();
        let uid = if named.is_empty() { text(&body["metadata"]["uid"]) } else { named };
        let name = match event.name() {
            "" => text(&body["metadata"]["name"]),
            name => name.to_owned(),
        };
        let namespace = event.namespace().to_owned();
        match body["target"]["name"].as_str() {
            Some(target) if target == node => {
                self.origins.insert(event.origin);
                let manifest = self.manifest(&namespace, &name, event.received);
                let life = self.begin(&namespace, &name, &uid);
                life.bound = Some((event.received, user));
                life.manifest = manifest;
                life.by.insert("it was bound to the node");
            }
            Some(_) => {}
            None if self.nowhere.len() < MAX_MANIFESTS => {
                self.nowhere.push((namespace, name, uid, event.received, user));
            }
            None => self.untold += 1,
        }
    }

    fn told_to_go(&mut self, event: &Event<'_>, node: &str, user: String, how: &'static str) {
        let body = event.request().unwrap_or_default();
        let uid = ["/preconditions/uid", "/deleteOptions/preconditions/uid"]
            .iter()
            .find_map(|way| body.pointer(way)?.as_str())
            .unwrap_or_default();
        let (namespace, name) = (event.namespace(), event.name());
        let kubelet = user == own::user(node);
        let all = self.by_name.get(&(namespace.to_owned(), name.to_owned()));
        let known = all.and_then(|all| all.iter().rev().copied().find(|at| self.lives[*at].is(namespace, name, uid)));
        // Of a pod that is not known to have been here, only the kubelet's own word counts.
        let at = match known {
            Some(at) => at,
            None if kubelet => {
                self.life(namespace, name, uid);
                self.lives.len() - 1
            }
            None => return,
        };
        self.origins.insert(event.origin);
        let life = &mut self.lives[at];
        if life.uid.is_empty() {
            life.uid = uid.into();
        }
        if kubelet {
            life.ended = Some(event.received);
        } else if life.told_to_go.is_none() {
            life.told_to_go = Some((event.received, user, how));
        }
    }

    /// Joined with what single requests told.
    pub fn join(&mut self, told: &Told) {
        // Those with a UID first: one without is a further word of them.
        for with_uid in [true, false] {
            for ((namespace, name, uid), pod) in told.pods.iter().filter(|(key, _)| key.2.is_empty() != with_uid) {
                let life = self.life(namespace, name, uid);
                match &mut life.seen {
                    Some(span) => span.add(pod.span),
                    None => life.seen = Some(pod.span),
                }
                life.account = life.account.take().or_else(|| pod.account.clone());
                life.images.extend(pod.images.iter().cloned());
                life.by.extend(&pod.by);
            }
        }
        for (namespace, name, uid, at, user) in std::mem::take(&mut self.nowhere) {
            // One that its node was seen to have by then or later.
            let was_here =
                |l: &&mut Life| l.is(&namespace, &name, &uid) && l.span().is_some_and(|span| at <= span.last);
            match self.lives.iter_mut().find(was_here) {
                Some(life) => {
                    life.bound.get_or_insert((at, user));
                    if life.uid.is_empty() {
                        life.uid = uid;
                    }
                }
                None => self.untold += 1,
            }
        }
        for at in 0..self.lives.len() {
            let life = &self.lives[at];
            if life.manifest.is_none()
                && let Some(span) = life.span()
            {
                let first = life.bound.as_ref().map_or(span.first, |b| b.0);
                self.lives[at].manifest = self.manifest(&life.namespace, &life.name, first);
            }
        }
    }

    /// The manifest of a pod of that name, as it was last made by then.
    fn manifest(&self, namespace: &str, name: &str, by: OffsetDateTime) -> Option<(Value, From)> {
        let own = self.manifests.get(&(namespace.to_owned(), name.to_owned(), false));
        let sibling = || {
            let stem = name.char_indices().rev().nth(SUFFIX - 1).map(|(at, _)| &name[..at])?;
            self.manifests.get(&(namespace.to_owned(), stem.to_owned(), true))
        };
        let (manifest, from, made) = own.or_else(sibling)?;
        let mut manifest = manifest.clone();
        manifest["metadata"]["name"] = json!(name);
        (*made <= by).then_some((manifest, *from))
    }
}

/// What of a manifest says which credentials reached the node and how far the pod reached; values of variables are left
/// out. What only was asked for has no token yet: the API server adds it, unless the pod wants none.
fn pared(body: &Value, namespace: &str, answered: bool) -> Value {
    let spec = &body["spec"];
    let mut out = json!({"metadata": {"namespace": namespace}, "spec": {}});
    for key in ["hostNetwork", "hostPID", "hostIPC", "imagePullSecrets", "volumes"] {
        if !spec[key].is_null() {
            out["spec"][key] = spec[key].clone();
        }
    }
    let account = ["serviceAccountName", "serviceAccount"].iter().find_map(|k| spec[*k].as_str()).unwrap_or("default");
    out["spec"]["serviceAccountName"] = json!(account);
    let mut lists: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array().into_iter().flatten() {
            let env = container["env"].as_array().into_iter().flatten();
            let env: Vec<Value> = env.map(|e| json!({"name": e["name"], "valueFrom": e["valueFrom"]})).collect();
            lists.entry(list).or_default().push(json!({
                "name": container["name"], "image": container["image"], "env": env, "envFrom": container["envFrom"],
                "securityContext": container["securityContext"],
            }));
        }
    }
    for (list, containers) in lists {
        out["spec"][list] = json!(containers);
    }
    if !answered && spec["automountServiceAccountToken"] != false {
        let token = json!({"name": "kube-api-access", "projected": {"sources": [{"serviceAccountToken": {}}]}});
        match out["spec"]["volumes"].as_array_mut() {
            Some(volumes) => volumes.push(token),
            None => out["spec"]["volumes"] = json!([token]),
        }
    }
    out
}
