//! What of all that was gathered leads to the target, or from it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use time::OffsetDateTime;

use super::gather::{Ends, Gathered};
use super::{Edge, Graph, Kind, Node, Target};

/// Addresses and credentials that are shown of one node one by one; the rest is one node.
const MAX_ALIKE: usize = 20;
/// Nodes that are shown; those farthest from the target are left out.
const MAX_NODES: usize = 400;

/// Edges by the node at one of their ends.
type Index<'a> = HashMap<&'a Node, Vec<(&'a Ends, &'a Edge)>>;

impl Gathered {
    /// Who reached the Secret and through whom; or what led to the identity, and where it led.
    pub fn reach(mut self, target: &Target) -> Graph {
        self.memberships();
        let all: Vec<(Ends, Edge)> = self.edges.iter().map(|(ends, edge)| (ends.clone(), edge.done())).collect();
        let (mut into, mut out): (Index<'_>, Index<'_>) = (HashMap::new(), HashMap::new());
        for (ends, edge) in &all {
            into.entry(&ends.2).or_default().push((ends, edge));
            out.entry(&ends.0).or_default().push((ends, edge));
        }
        let seed = match target {
            Target::Secret(namespace, name) => Node::new(Kind::Secret, &format!("{namespace}/{name}")),
            Target::Identity(name) => Node::new(Kind::Identity, name),
        };
        let mut kept: BTreeMap<&Ends, &Edge> = BTreeMap::new();
        let mut depth: HashMap<&Node, usize> = HashMap::from([(&seed, 0)]);
        backward(&seed, &into, &mut kept, &mut depth);
        if matches!(target, Target::Identity(_)) {
            let before: BTreeSet<&Node> = depth.keys().copied().collect();
            forward(&seed, &out, &mut kept, &mut depth);
            // Who else came as what it made its own, one step: a stolen token's address.
            for node in
                depth.keys().copied().filter(|n| n.kind == Kind::Credential && !before.contains(n)).collect::<Vec<_>>()
            {
                for (ends, edge) in into.get(node).into_iter().flatten().filter(|(e, _)| e.0.kind == Kind::Address) {
                    kept.insert(ends, edge);
                    let at = depth[node] + 1;
                    depth.entry(&ends.0).or_insert(at);
                }
            }
        }
        let mut graph = draw(&seed, &kept, &depth);
        if self.beyond > 0 {
            graph.folded.push(format!(
                "the log holds more ways than are kept: {} requests that show others are not in the graph; ask about a \
                 shorter time",
                self.beyond
            ));
        }
        if all.iter().any(|(_, edge)| edge.at_least) {
            graph.folded.push("not all requests were told apart: counts marked with + are the least".into());
        }
        graph
    }

    /// A group that a binding names leads to those that came with it.
    fn memberships(&mut self) {
        let named: Vec<Node> = self.edges.keys().filter(|e| e.2.kind == Kind::Group).map(|e| e.2.clone()).collect();
        let named: BTreeSet<Node> = named.into_iter().collect();
        for (user, groups) in std::mem::take(&mut self.groups) {
            for group in named.iter().filter(|g| groups.contains(g.name.as_ref())) {
                self.belongs(group, &user);
            }
        }
    }
}

/// Whether an edge was ever more than a try.
fn worked(edge: &Edge) -> bool {
    edge.last.is_some()
}

/// All that could lead to the seed before the last time that it mattered.
fn backward<'a>(
    seed: &'a Node,
    into: &Index<'a>,
    kept: &mut BTreeMap<&'a Ends, &'a Edge>,
    depth: &mut HashMap<&'a Node, usize>,
) {
    let mut until: HashMap<&Node, Option<OffsetDateTime>> = HashMap::from([(seed, None)]);
    let mut queue = VecDeque::from([seed]);
    while let Some(node) = queue.pop_front() {
        let limit = until[node];
        for (ends, edge) in into.get(node).into_iter().flatten() {
            // Where all leads on but at the target itself, what failed leads nowhere.
            if !worked(edge) && node != seed || limit.is_some_and(|limit| edge.first.time > limit) {
                continue;
            }
            kept.insert(ends, edge);
            let last = edge.last.as_ref().map_or(edge.first.time, |last| last.time);
            let last = limit.map_or(last, |limit| last.min(limit));
            let next = depth[node] + 1;
            depth.entry(&ends.0).and_modify(|d| *d = (*d).min(next)).or_insert(next);
            let further = match until.get(&ends.0) {
                None => true,
                Some(known) => known.is_some_and(|known| known < last),
            };
            if further {
                until.insert(&ends.0, Some(last));
                queue.push_back(&ends.0);
            }
        }
    }
}

/// All that the seed could lead to after the first time that it was there.
fn forward<'a>(
    seed: &'a Node,
    out: &Index<'a>,
    kept: &mut BTreeMap<&'a Ends, &'a Edge>,
    depth: &mut HashMap<&'a Node, usize>,
) {
    let mut from: HashMap<&Node, Option<OffsetDateTime>> = HashMap::from([(seed, None)]);
    let mut queue = VecDeque::from([seed]);
    while let Some(node) = queue.pop_front() {
        let since = from[node];
        for (ends, edge) in out.get(node).into_iter().flatten() {
            let late = edge.last.as_ref().is_some_and(|last| since.is_some_and(|since| last.time < since));
            if !worked(edge) && node != seed || late {
                continue;
            }
            kept.insert(ends, edge);
            let next = depth[node] + 1;
            depth.entry(&ends.2).or_insert(next);
            // What was only tried leads nowhere; a Secret leads on only through who reads it.
            if !worked(edge) || ends.2.kind == Kind::Secret {
                continue;
            }
            let first = since.map_or(edge.first.time, |since| edge.first.time.max(since));
            let further = match from.get(&ends.2) {
                None => true,
                Some(known) => known.is_some_and(|known| known > first),
            };
            if further {
                from.insert(&ends.2, Some(first));
                queue.push_back(&ends.2);
            }
        }
    }
}

/// The graph in a stable order, with what is too much of one kind folded.
fn draw(seed: &Node, kept: &BTreeMap<&Ends, &Edge>, depth: &HashMap<&Node, usize>) -> Graph {
    let mut graph = Graph::default();
    let names = fold(kept, &mut graph.folded);
    let named = |node: &Node| names.get(node).unwrap_or(node).clone();
    let mut nodes: BTreeMap<Node, usize> = BTreeMap::from([(seed.clone(), 0)]);
    for ends in kept.keys() {
        for node in [&ends.0, &ends.2] {
            let far = depth.get(node).copied().unwrap_or(usize::MAX);
            let known = nodes.entry(named(node)).or_insert(far);
            *known = far.min(*known);
        }
    }
    let mut order: Vec<(usize, Node)> = nodes.into_iter().map(|(node, far)| (far, node)).collect();
    order.sort();
    if order.len() > MAX_NODES {
        graph.folded.push(format!("{} nodes farthest from what was asked about are left out", order.len() - MAX_NODES));
        order.truncate(MAX_NODES);
    }
    graph.nodes = order.into_iter().map(|(_, node)| node).collect();
    let index: HashMap<Node, usize> = graph.nodes.iter().cloned().enumerate().map(|(at, node)| (node, at)).collect();
    let mut edges: BTreeMap<(usize, &'static str, usize), Edge> = BTreeMap::new();
    for (ends, edge) in kept {
        let (Some(from), Some(to)) = (index.get(&named(&ends.0)), index.get(&named(&ends.2))) else { continue };
        match edges.get_mut(&(*from, ends.1, *to)) {
            Some(sum) => sum.plus(edge),
            None => {
                edges.insert((*from, ends.1, *to), (*edge).clone());
            }
        }
    }
    graph.edges = edges.into_iter().map(|((from, relation, to), edge)| (from, relation, to, edge)).collect();
    graph
}

/// Addresses and credentials beyond the first of one node get one name together.
fn fold(kept: &BTreeMap<&Ends, &Edge>, said: &mut Vec<String>) -> HashMap<Node, Node> {
    let mut alike: BTreeMap<(&Node, Kind), Vec<(&Node, &Edge)>> = BTreeMap::new();
    let mut leads: HashMap<&Node, BTreeSet<&Node>> = HashMap::new();
    for (ends, edge) in kept {
        leads.entry(&ends.0).or_default().insert(&ends.2);
        if matches!(ends.0.kind, Kind::Address | Kind::Credential) {
            alike.entry((&ends.2, ends.0.kind)).or_default().push((&ends.0, edge));
        }
    }
    let mut names = HashMap::new();
    for ((to, kind), mut all) in alike {
        // What leads elsewhere too must stay apart.
        all.retain(|(node, _)| leads.get(node).is_some_and(|to| to.len() == 1));
        if all.len() <= MAX_ALIKE {
            continue;
        }
        all.sort_by_key(|(node, edge)| (edge.first.time, *node));
        let rest = &all[MAX_ALIKE..];
        let what = if kind == Kind::Address { "addresses" } else { "credentials" };
        let together = Node::new(kind, &format!("{} more {what} of {}", rest.len(), to.name));
        said.push(format!("{} more {what} of {} are one node", rest.len(), to.name));
        names.extend(rest.iter().map(|(node, _)| ((*node).clone(), together.clone())));
    }
    names
}

impl Edge {
    fn plus(&mut self, other: &Edge) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.at_least |= other.at_least;
        if other.first < self.first {
            self.first = other.first.clone();
        }
        if other.last > self.last {
            self.last = other.last.clone();
        }
    }
}
