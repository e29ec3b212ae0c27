//! `connections`: lists what is open in a network namespace, and on request ends it and watches that it stays so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::net::netlink;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::diag::{self, Peered};
use super::model::{Connection, Connections, Conntrack, Cut, Holder, Listening, Tried, Watch};
use super::netlink::Netlink;
use crate::collector::output::Output;
use crate::collector::processes::{self, parse};

/// How often the namespace is looked at while it is watched.
const LOOK: Duration = Duration::from_millis(100);
/// Connections of one document: whoever holds the pod decides how many there are.
const MAX: usize = 20_000;

/// What is asked for.
#[derive(Debug, Default)]
pub struct Asked {
    /// A process of the network namespace; None for our own namespace.
    pub pid: Option<u32>,
    /// End what is open.
    pub cut: bool,
    /// Let the node forget what it remembers of these addresses. Needs the node's network namespace for our own.
    pub forget: Vec<IpAddr>,
    /// Peers that may come back while it is watched: the node's own addresses, which no policy stops.
    pub spare: Vec<IpAddr>,
    /// How long to watch; with `cut`, what comes up is ended too.
    pub watch: Duration,
}

/// Runs it in the network namespace of a process, in a thread of its own, for a namespace is a thread's.
///
/// # Errors
/// When the namespace can't be entered, which takes CAP_SYS_ADMIN, or `work` fails.
pub fn within<T: Send>(pid: Option<u32>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Some(pid) = pid {
                let file = File::open(format!("/proc/{pid}/ns/net"))?;
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|error| {
                    io::Error::other(format!("can't enter the network namespace of process {pid}: {error}"))
                })?;
            }
            work()
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the network namespace died")))
    })
}

/// Writes the document.
///
/// # Errors
/// When the namespace can't be entered or read, or the output can't be written.
pub fn write<W: Write>(out: &mut Output<W>, asked: &Asked) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let place = asked.pid.map_or_else(|| "self".into(), |pid| pid.to_string());
    let namespace =
        fs::read_link(format!("/proc/{place}/ns/net")).map(|l| l.to_string_lossy().into_owned()).unwrap_or_default();
    // Who holds what is known from outside; only the sockets themselves need the namespace.
    let (holders, listening) = holders(&namespace)?;
    let (peered, warnings) = within(asked.pid, diag::peered)?;
    let mut document = Connections {
        format: 1,
        taken: parse::rfc3339(u64::try_from(now.as_millis()).unwrap_or(0)),
        namespace: namespace.clone(),
        open: shown(asked, &peered, &holders),
        listening,
        cut: None,
        watch: None,
        warnings,
    };
    if asked.cut {
        document.cut = Some(cut(asked, &peered)?);
    }
    if asked.watch > Duration::ZERO {
        document.watch = Some(watch(asked, &peered, &holders)?);
    }
    out.entries = document.open.len() as u64;
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    out.put(&text)
}

type Holders = BTreeMap<u64, Holder>;

/// Who holds each socket of that namespace, and where somebody listens.
fn holders(namespace: &str) -> io::Result<(Holders, Vec<Listening>)> {
    let (mut holders, mut listening) = (Holders::new(), Vec::new());
    for (socket, process) in processes::held_in(namespace)? {
        let holder = process.as_ref().map(Holder::from);
        if let (Some("LISTEN"), Some(address)) = (socket.state.as_deref(), &socket.local) {
            listening.push(Listening { address: address.clone(), process: holder.clone() });
        }
        holders.extend(holder.map(|holder| (socket.inode, holder)));
    }
    listening.truncate(MAX);
    Ok((holders, listening))
}

/// Those that leave the namespace.
fn leaving(all: &[Peered]) -> impl Iterator<Item = &Peered> {
    let own: BTreeSet<IpAddr> = all.iter().map(|s| s.local.ip()).collect();
    all.iter().filter(move |s| !s.remote.ip().is_loopback() && !own.contains(&s.remote.ip()))
}

fn shown(asked: &Asked, all: &[Peered], holders: &Holders) -> Vec<Connection> {
    leaving(all).take(MAX).map(|s| connection(asked, s, holders)).collect()
}

impl Asked {
    /// Whether an address is the node's: one that can be bound to in our own network namespace, when that is the node's.
    fn is_nodes(&self, address: IpAddr) -> bool {
        self.spare.contains(&address) || self.pid.is_some() && UdpSocket::bind((address, 0)).is_ok()
    }
}

fn connection(asked: &Asked, socket: &Peered, holders: &Holders) -> Connection {
    Connection {
        own_node: asked.is_nodes(socket.remote.ip()),
        protocol: socket.protocol.into(),
        local: socket.local.to_string(),
        remote: socket.remote.to_string(),
        state: socket.state_name().into(),
        uid: socket.uid,
        inode: socket.inode,
        sent: socket.bytes.map(|b| b.0),
        received: socket.bytes.map(|b| b.1),
        process: holders.get(&u64::from(socket.inode)).cloned(),
    }
}

/// Ends what is open, and lets the node forget it.
fn cut(asked: &Asked, before: &[Peered]) -> io::Result<Cut> {
    let tried = within(asked.pid, || destroy(leaving(before)))?;
    // After the sockets: their resets still pass as parts of connections that the firewall knows.
    let forgotten = || match super::conntrack::of(&asked.forget, true) {
        Ok((found, failed)) => Conntrack { found, failed },
        Err(error) => Conntrack { found: Vec::new(), failed: vec![error.to_string()] },
    };
    Ok(Cut { tried, conntrack: (!asked.forget.is_empty()).then(forgotten) })
}

/// Looks again and again, until the time is over.
fn watch(asked: &Asked, before: &[Peered], holders: &Holders) -> io::Result<Watch> {
    let known: BTreeSet<(SocketAddr, SocketAddr)> = leaving(before).map(|s| (s.local, s.remote)).collect();
    let mut came: BTreeMap<(SocketAddr, SocketAddr), Connection> = BTreeMap::new();
    let (mut watch, mut attempts) = (Watch::default(), BTreeSet::new());
    let begun = Instant::now();
    let so_far = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    loop {
        let (now, _) = within(asked.pid, diag::peered)?;
        let open: Vec<&Peered> = leaving(&now).filter(|s| s.state != 2).collect();
        let old = open.iter().any(|s| known.contains(&(s.local, s.remote)));
        watch.gone_after_ms = if old { None } else { watch.gone_after_ms.or_else(|| Some(so_far())) };
        for socket in open.iter().filter(|s| !known.contains(&(s.local, s.remote))) {
            if came.len() < MAX {
                came.entry((socket.local, socket.remote)).or_insert_with(|| connection(asked, socket, holders));
            }
        }
        attempts.extend(leaving(&now).filter(|s| s.state == 2).take(MAX).map(|s| s.remote.to_string()));
        if begun.elapsed() >= asked.watch {
            watch.left = open.iter().take(MAX).map(|s| connection(asked, s, holders)).collect();
            break;
        }
        if asked.cut {
            // Whoever got through is ended too, and stays in the list of what came.
            let again = open.iter().copied().filter(|s| !asked.is_nodes(s.remote.ip()));
            within(asked.pid, || destroy(again))?;
        }
        std::thread::sleep(LOOK.min(asked.watch.saturating_sub(begun.elapsed())));
    }
    watch.watched_ms = so_far();
    watch.came = came.into_values().collect();
    watch.attempts = attempts.into_iter().collect();
    Ok(watch)
}

fn destroy<'a>(sockets: impl Iterator<Item = &'a Peered>) -> io::Result<Vec<Tried>> {
    let mut netlink = Netlink::open(netlink::SOCK_DIAG)?;
    Ok(sockets
        .map(|socket| {
            let (outcome, error) = match diag::destroy(&mut netlink, socket) {
                Ok(()) => ("destroyed", None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => ("gone", None),
                Err(error) => ("failed", Some(error.to_string())),
            };
            let (local, remote) = (socket.local.to_string(), socket.remote.to_string());
            Tried { protocol: socket.protocol.into(), local, remote, outcome: outcome.into(), error }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_inside_the_namespace_is_not_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut out = Output::new(Vec::new(), true);
        write(&mut out, &Asked::default()).unwrap();
        let (all, _) = diag::peered().unwrap();
        assert!(all.iter().any(|s| s.remote == listener.local_addr().unwrap()));
        assert!(leaving(&all).all(|s| s.remote != listener.local_addr().unwrap()));
    }

    #[test]
    fn a_listener_is_told_with_its_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy().into_owned();
        let (_, listening) = holders(&own).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let found = listening.iter().find(|l| l.address == address).expect("it listens");
        assert_eq!(found.process.as_ref().map(|p| p.pid), Some(std::process::id()));
    }
}
