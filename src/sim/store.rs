//! Objects as the text that is sent, what lists and controllers look them up by, and the recent changes for watches.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::resource::Resource;

/// Changes that are kept for watches; what is older has expired.
const KEPT: usize = 5_000;

/// One object's place. Orders as lists do: by namespace, then name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `pods`, `deployments.apps`: [`Resource::id`].
    pub of: Arc<str>,
    /// Empty for what has no namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key.
    pub fn new(of: &str, namespace: &str, name: &str) -> Key {
        Key { of: of.into(), namespace: namespace.into(), name: name.into() }
    }
}

/// An object.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As it is sent.
    pub text: Bytes,
    /// Its resourceVersion.
    pub version: u64,
    /// metadata.uid.
    pub uid: String,
    /// metadata.labels.
    pub labels: BTreeMap<String, String>,
    /// What field selectors and controllers ask for without parsing: `spec.nodeName`, `status.phase`, …
    pub fields: Vec<(&'static str, String)>,
    /// UIDs of ownerReferences.
    pub owners: Vec<String>,
}

impl Entry {
    fn of(key: &Key, object: &Value, version: u64) -> Entry {
        let meta = &object["metadata"];
        let labels = meta["labels"].as_object().into_iter().flatten();
        Entry {
            text: Bytes::from(object.to_string()),
            version,
            uid: meta["uid"].as_str().unwrap_or_default().into(),
            labels: labels.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().into())).collect(),
            fields: super::selector::fields(&key.of, object),
            owners: meta["ownerReferences"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|o| o["uid"].as_str().map(Into::into))
                .collect(),
        }
    }

    /// The object.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.text).unwrap_or_default()
    }

    /// One of [`Entry::fields`].
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Created.
    Added,
    /// Changed.
    Modified,
    /// Gone.
    Deleted,
}

/// One change.
#[derive(Debug, Clone)]
pub struct Change {
    /// The resourceVersion that it made.
    pub version: u64,
    /// Where.
    pub key: Key,
    /// What.
    pub what: What,
    /// The object after it; for a deletion its last state, with the deletion's own resourceVersion.
    pub now: Arc<Entry>,
    /// The object before it.
    pub before: Option<Arc<Entry>>,
}

/// The objects of one kind, by namespace and name.
type Kind = BTreeMap<(String, String), Arc<Entry>>;

/// All objects.
#[derive(Default)]
pub struct Store {
    objects: BTreeMap<Arc<str>, Kind>,
    version: u64,
    history: VecDeque<Change>,
    /// Changes up to this version are no longer kept.
    forgotten: u64,
    owned: HashMap<String, BTreeSet<Key>>,
    uids: HashMap<String, Key>,
    on_node: HashMap<String, BTreeSet<Key>>,
}

impl Store {
    /// The latest resourceVersion.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Up to which resourceVersion changes are no longer kept.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Forgets the changes so far, as a compaction does.
    pub fn compact(&mut self) {
        self.forgotten = self.version;
        self.history.clear();
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.objects.get(&key.of)?.get(&(key.namespace.clone(), key.name.clone()))
    }

    /// One object, parsed.
    pub fn value(&self, key: &Key) -> Option<Value> {
        self.get(key).map(|e| e.value())
    }

    /// Where the object with that UID is.
    pub fn by_uid(&self, uid: &str) -> Option<&Key> {
        self.uids.get(uid)
    }

    /// All of a kind, in a namespace or (empty) in all, in order; `after` is left out with all before it.
    pub fn list<'s>(
        &'s self,
        of: &str,
        namespace: &'s str,
        after: Option<(String, String)>,
    ) -> impl Iterator<Item = (&'s (String, String), &'s Arc<Entry>)> + use<'s> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = match (after, namespace) {
            (Some(after), _) => Excluded(after),
            (None, "") => Unbounded,
            (None, namespace) => Included((namespace.to_string(), String::new())),
        };
        self.objects
            .get(of)
            .into_iter()
            .flat_map(move |kind| kind.range((from.clone(), Unbounded)))
            .take_while(move |(key, _)| namespace.is_empty() || key.0 == namespace)
    }

    /// Keys of a kind.
    pub fn keys(&self, of: &str, namespace: &str) -> Vec<Key> {
        self.list(of, namespace, None).map(|((ns, name), _)| Key::new(of, ns, name)).collect()
    }

    /// How many there are of a kind.
    pub fn count(&self, of: &str) -> usize {
        self.objects.get(of).map_or(0, BTreeMap::len)
    }

    /// What names this UID as an owner.
    pub fn owned(&self, uid: &str) -> Vec<Key> {
        self.owned.get(uid).into_iter().flatten().cloned().collect()
    }

    /// The pods on a node.
    pub fn on_node(&self, node: &str) -> Vec<Key> {
        self.on_node.get(node).into_iter().flatten().cloned().collect()
    }

    /// How many pods a node has.
    pub fn load(&self, node: &str) -> usize {
        self.on_node.get(node).map_or(0, BTreeSet::len)
    }

    /// Every key of every namespaced kind in a namespace.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Key> {
        let mut all = Vec::new();
        for (of, kind) in &self.objects {
            let from = (namespace.to_string(), String::new());
            let here = kind.range(from..).take_while(|(key, _)| key.0 == namespace);
            all.extend(here.map(|((ns, name), _)| Key { of: of.clone(), namespace: ns.clone(), name: name.clone() }));
        }
        all
    }

    /// Stores an object; its resourceVersion is set. What changed comes back.
    pub fn put(&mut self, key: &Key, object: &mut Value) -> Arc<Entry> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = Value::String(self.version.to_string());
        let entry = Arc::new(Entry::of(key, object, self.version));
        let before = self.forget(key);
        self.index(key, &entry, true);
        self.objects
            .entry(key.of.clone())
            .or_default()
            .insert((key.namespace.clone(), key.name.clone()), entry.clone());
        let what = if before.is_some() { What::Modified } else { What::Added };
        self.changed(Change { version: self.version, key: key.clone(), what, now: entry.clone(), before });
        entry
    }

    /// Removes an object; its last state comes back.
    pub fn remove(&mut self, key: &Key) -> Option<Value> {
        let before = self.forget(key)?;
        if let Some(kind) = self.objects.get_mut(&key.of) {
            kind.remove(&(key.namespace.clone(), key.name.clone()));
        }
        self.version += 1;
        let mut last = before.value();
        last["metadata"]["resourceVersion"] = Value::String(self.version.to_string());
        let now = Arc::new(Entry::of(key, &last, self.version));
        self.changed(Change {
            version: self.version,
            key: key.clone(),
            what: What::Deleted,
            now,
            before: Some(before),
        });
        Some(last)
    }

    fn forget(&mut self, key: &Key) -> Option<Arc<Entry>> {
        let before = self.get(key)?.clone();
        self.index(key, &before, false);
        Some(before)
    }

    fn index(&mut self, key: &Key, entry: &Arc<Entry>, add: bool) {
        let change = |map: &mut HashMap<String, BTreeSet<Key>>, at: &str| {
            if add {
                map.entry(at.to_string()).or_default().insert(key.clone());
            } else if let Some(set) = map.get_mut(at) {
                set.remove(key);
                if set.is_empty() {
                    map.remove(at);
                }
            }
        };
        for owner in &entry.owners {
            change(&mut self.owned, owner);
        }
        if &*key.of == "pods" && !entry.field("spec.nodeName").is_empty() {
            change(&mut self.on_node, entry.field("spec.nodeName"));
        }
        if add {
            self.uids.insert(entry.uid.clone(), key.clone());
        } else {
            self.uids.remove(&entry.uid);
        }
    }

    fn changed(&mut self, change: Change) {
        self.history.push_back(change);
        while self.history.len() > KEPT {
            if let Some(old) = self.history.pop_front() {
                self.forgotten = old.version;
            }
        }
    }

    /// The changes after a version, oldest first; None when some of them are no longer kept.
    pub fn since(&self, version: u64) -> Option<impl Iterator<Item = &Change>> {
        if version < self.forgotten {
            return None;
        }
        let from = self.history.partition_point(|c| c.version <= version);
        Some(self.history.range(from..))
    }
}

/// An object's text as an item of a list: without apiVersion and kind where the server leaves them out.
pub fn as_item(resource: &Resource, text: &Bytes) -> Bytes {
    if resource.custom {
        return text.clone();
    }
    let head = format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", resource.api_version(), resource.kind);
    match text.strip_prefix(head.as_bytes()) {
        Some(rest) => {
            let mut item = Vec::with_capacity(rest.len() + 1);
            item.push(b'{');
            item.extend_from_slice(rest);
            Bytes::from(item)
        }
        None => text.clone(),
    }
}
