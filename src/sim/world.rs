//! Everything that the embedded cluster holds, behind one lock: objects, kinds, identities, containers, and what is due.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::audit::Audit;
use super::container::{Inside, Lazy};
use super::fault::Fault;
use super::identity::Identities;
use super::network::Network;
use super::rbac::Rbac;
use super::resource::{Resource, built_in};
use super::store::{Entry, Key, Store};
use crate::clock::Clock;

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A generated name's end: letters and digits that spell no words, as the API server's.
    pub fn suffix(&mut self, length: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..length)
            .map(|_| {
                let at = usize::try_from(self.number() % ALPHABET.len() as u64).unwrap_or(0);
                char::from(ALPHABET.get(at).copied().unwrap_or(b'x'))
            })
            .collect()
    }

    /// A version 4 UUID.
    pub fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.number().to_be_bytes());
        bytes[8..].copy_from_slice(&self.number().to_be_bytes());
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// What containers of an image hold, and how such images behave.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// The image's reference begins so.
    pub name: String,
    /// Only in containers of this name; empty for all.
    pub container: String,
    /// Only in pods with these labels.
    pub labels: BTreeMap<String, String>,
    /// Inside.
    pub inside: Arc<Inside>,
    /// Its digest, `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// It can't be pulled.
    pub missing: bool,
    /// Lines of its log.
    pub log: Vec<String>,
    /// How long it runs before it ends by itself with this exit code (Jobs).
    pub ends: Option<(Duration, i32)>,
    /// Its first process ignores SIGTERM: deletion takes the whole grace period.
    pub ignores_term: bool,
}

/// A container that was started.
pub struct Running {
    /// Its inside.
    pub container: Lazy,
    /// Its log, oldest first: time and line.
    pub log: Vec<(OffsetDateTime, String)>,
    /// The log of its former life.
    pub former: Option<Vec<(OffsetDateTime, String)>>,
}

/// The cluster.
pub struct World {
    /// Objects.
    pub store: Store,
    /// Kinds.
    pub resources: Vec<Arc<Resource>>,
    /// Names and UIDs.
    pub random: Random,
    /// Who may come in.
    pub identities: Identities,
    /// Who may do what.
    pub rbac: Rbac,
    /// The audit log.
    pub audit: Audit,
    /// Images that containers may have.
    pub images: Vec<Image>,
    /// Containers by pod UID and name.
    pub containers: HashMap<(String, String), Running>,
    /// What the network does.
    pub network: Network,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// How much faster than real the cluster's own waits are: grace periods, starts, node time-outs.
    pub speed: f64,
    /// What controllers must look at.
    pub dirty: BTreeSet<Key>,
    /// What they must look at later.
    pub timers: BinaryHeap<Reverse<(OffsetDateTime, Key)>>,
    /// Pods that are being stopped, by UID, and since when: objects' own times have whole seconds alone.
    pub stopping: HashMap<String, OffsetDateTime>,
    /// Pods whose mounted Secrets or ConfigMaps have changed, and when their kubelets notice.
    pub stale: std::collections::BTreeMap<Key, OffsetDateTime>,
    /// The next address of a pod and of a Service.
    pub addresses: (u32, u32),
    clock: Clock,
}

impl World {
    /// An empty cluster: no object at all, not even a namespace.
    pub fn new(seed: u64, identities: Identities, audit: Audit) -> World {
        World {
            store: Store::default(),
            resources: built_in(),
            random: Random::new(seed),
            identities,
            rbac: Rbac::default(),
            audit,
            images: Vec::new(),
            containers: HashMap::new(),
            network: Network::default(),
            faults: Vec::new(),
            speed: 1.0,
            dirty: BTreeSet::new(),
            timers: BinaryHeap::new(),
            stopping: HashMap::new(),
            stale: Default::default(),
            addresses: (2, 10),
            clock: Clock::System,
        }
    }

    /// Now.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Now, as objects have it: whole seconds.
    pub fn stamp(&self) -> String {
        seconds(self.now())
    }

    /// How long something takes here that takes so long in a real cluster.
    pub fn scaled(&self, real: Duration) -> Duration {
        real / self.speed.max(0.001)
    }

    /// The kind behind a store's id.
    pub fn resource(&self, id: &str) -> Option<Arc<Resource>> {
        self.resources.iter().find(|r| r.id() == id).cloned()
    }

    /// The kind of that group, version and plural.
    pub fn served(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.resources.iter().find(|r| r.group == group && r.version == version && r.plural == plural).cloned()
    }

    /// The kind with that apiVersion and kind.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.resources.iter().find(|r| r.kind == kind && r.api_version() == api_version).cloned()
    }

    /// Stores an object and wakes whoever must know. The object's metadata must be complete.
    pub fn put(&mut self, key: &Key, object: &mut Value) -> Arc<Entry> {
        let before = self.store.get(key).cloned();
        let entry = self.store.put(key, object);
        self.touched(key, &entry);
        if let Some(before) = before {
            self.touched(key, &before);
        }
        entry
    }

    /// Removes an object for good.
    pub fn remove(&mut self, key: &Key) -> Option<Value> {
        let entry = self.store.get(key)?.clone();
        let dependents = self.store.owned(&entry.uid);
        let last = self.store.remove(key)?;
        self.touched(key, &entry);
        self.dirty.extend(dependents);
        if &*key.of == "customresourcedefinitions.apiextensions.k8s.io" {
            self.refresh_custom();
        }
        Some(last)
    }

    fn touched(&mut self, key: &Key, entry: &Arc<Entry>) {
        if key.of.ends_with("rbac.authorization.k8s.io") {
            self.rbac.forget();
        }
        self.dirty.insert(key.clone());
        for owner in &entry.owners {
            if let Some(owner) = self.store.by_uid(owner) {
                self.dirty.insert(owner.clone());
            }
        }
        super::life::interested(self, key, entry);
    }

    /// Something must be looked at again then.
    pub fn later(&mut self, after: Duration, key: &Key) {
        let at = self.now() + after;
        self.timers.push(Reverse((at, key.clone())));
    }

    /// The kinds that CustomResourceDefinitions serve now.
    pub fn refresh_custom(&mut self) {
        self.resources.retain(|r| !r.custom);
        let definitions: Vec<Value> = self
            .store
            .list("customresourcedefinitions.apiextensions.k8s.io", "", None)
            .map(|(_, entry)| entry.value())
            .collect();
        for definition in definitions {
            self.resources.extend(Resource::of_definition(&definition));
        }
    }

    /// metadata of an object that the cluster itself makes.
    pub fn metadata(&mut self, namespace: &str, name: &str) -> Value {
        let mut meta = json!({"name": name, "uid": self.random.uuid(), "creationTimestamp": self.stamp()});
        if !namespace.is_empty() {
            meta["namespace"] = json!(namespace);
        }
        meta
    }

    /// An Event about an object, as a component reports it; the same one again is counted.
    pub fn event(&mut self, of: &Value, kind: &str, kind_of_event: &str, reason: &str, message: &str, by: &str) {
        let namespace = of["metadata"]["namespace"].as_str().unwrap_or("default").to_string();
        let object = of["metadata"]["name"].as_str().unwrap_or_default().to_string();
        // An event's name begins with its object's: the others need not be looked at.
        let begins = format!("{object}.");
        let from = Some((namespace.clone(), begins.clone()));
        let same = self
            .store
            .list("events", &namespace, from)
            .take_while(|((_, name), _)| name.starts_with(&begins))
            .find(|(_, e)| {
                e.field("involvedObject.name") == object
                    && e.field("reason") == reason
                    && e.value()["message"] == message
            })
            .map(|(key, entry)| (Key::new("events", &key.0, &key.1), entry.value()));
        let stamp = self.stamp();
        if let Some((key, mut event)) = same {
            event["count"] = json!(event["count"].as_u64().unwrap_or(1) + 1);
            event["lastTimestamp"] = json!(stamp);
            self.put(&key, &mut event);
            return;
        }
        let name = format!("{object}.{:016x}", self.random.number());
        let api_version = self.resources.iter().find(|r| r.kind == kind).map(|r| r.api_version()).unwrap_or_default();
        let mut event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": self.metadata(&namespace, &name),
            "involvedObject": {"apiVersion": api_version, "kind": kind, "name": object, "uid": of["metadata"]["uid"], "resourceVersion": of["metadata"]["resourceVersion"]},
            "reason": reason, "message": message, "type": kind_of_event, "count": 1, "eventTime": null,
            "firstTimestamp": stamp, "lastTimestamp": stamp, "reportingComponent": by, "reportingInstance": "", "source": {"component": by},
        });
        if of["metadata"]["namespace"].is_string() {
            event["involvedObject"]["namespace"] = json!(namespace);
        }
        self.put(&Key::new("events", &namespace, &name), &mut event);
    }
}

/// RFC 3339 in whole seconds.
pub fn seconds(at: OffsetDateTime) -> String {
    let whole = at.replace_nanosecond(0).unwrap_or(at);
    whole.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

/// RFC 3339 with microseconds, as MicroTime has it.
pub fn micros(at: OffsetDateTime) -> String {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    at.to_offset(time::UtcOffset::UTC).format(&format).unwrap_or_default()
}
