//! `connections` in the simulation: the sockets of the target's processes, ended by forgetting them.

use std::io;
use std::time::{Duration, Instant};

use super::super::state::State;
use super::super::{given_up, now};
use super::Run;
use super::frames::Frames;
use crate::collector::network::model::{
    Connection, Connections, Conntrack, Cut, Holder, Listening, Remembered, Tried, Watch,
};
use crate::collector::processes::parse;

/// What is asked for.
pub struct Asked {
    /// End what is open.
    pub cut: bool,
    /// Addresses that the node is to forget.
    pub forget: Vec<String>,
    /// How long to watch.
    pub watch: Duration,
}

/// Writes the document.
pub fn write(run: &Run<'_>, out: &mut Frames, asked: &Asked) -> io::Result<()> {
    let (open, listening) = {
        let state = run.target.state();
        (open(&state), listening(&state))
    };
    let mut document = Connections {
        format: 1,
        taken: parse::rfc3339(u64::try_from(now()).unwrap_or(0).saturating_mul(1000)),
        namespace: "net:[4026532301]".into(),
        open: open.clone(),
        listening,
        ..Connections::default()
    };
    if asked.cut {
        // It takes CAP_NET_ADMIN, which only root is given here.
        let may = run.own.uid == 0;
        document.cut = Some(cut(&mut run.target.state(), &open, &asked.forget, may));
    }
    if !asked.watch.is_zero() {
        document.watch = Some(watch(run, &open, asked.watch));
    }
    out.entries = document.open.len() as u64;
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    out.put(&text)
}

fn open(state: &State) -> Vec<Connection> {
    let mut all = Vec::new();
    for process in state.processes.values().filter(|p| p.foreign.is_none()) {
        for (inode, socket) in &process.sockets {
            let away = !socket.remote.ends_with(":0") && !socket.remote.starts_with("127.");
            if away && socket.state != "LISTEN" {
                all.push(Connection {
                    protocol: socket.protocol.clone(),
                    local: socket.local.clone(),
                    remote: socket.remote.clone(),
                    state: socket.state.clone(),
                    uid: process.uid,
                    inode: u32::try_from(*inode).unwrap_or(0),
                    own_node: false,
                    sent: None,
                    received: None,
                    process: Some(holder(process)),
                });
            }
        }
    }
    all
}

fn listening(state: &State) -> Vec<Listening> {
    let mut all = Vec::new();
    for process in state.processes.values().filter(|p| p.foreign.is_none()) {
        for (_, socket) in process.sockets.iter().filter(|(_, s)| s.state == "LISTEN") {
            all.push(Listening { address: socket.local.clone(), process: Some(holder(process)) });
        }
    }
    all
}

fn holder(process: &super::super::state::Process) -> Holder {
    Holder { pid: process.pid, comm: process.comm.clone(), exe: process.exe_link() }
}

fn cut(state: &mut State, open: &[Connection], forget: &[String], may: bool) -> Cut {
    if may {
        for process in state.processes.values_mut() {
            process.sockets.retain(|(inode, _)| !open.iter().any(|c| u64::from(c.inode) == *inode));
        }
    }
    let tried = open.iter().map(|c| Tried {
        protocol: c.protocol.clone(),
        local: c.local.clone(),
        remote: c.remote.clone(),
        outcome: if may { "destroyed" } else { "failed" }.into(),
        error: (!may).then(|| "Operation not permitted (os error 1)".into()),
    });
    let remembered = open.iter().map(|c| Remembered {
        protocol: if c.protocol.starts_with("udp") { 17 } else { 6 },
        source: c.local.clone(),
        destination: c.remote.clone(),
        answered_by: c.remote.clone(),
    });
    let conntrack = (!forget.is_empty()).then(|| Conntrack { found: remembered.collect(), failed: Vec::new() });
    Cut { tried: tried.collect(), conntrack }
}

fn watch(run: &Run<'_>, before: &[Connection], time: Duration) -> Watch {
    let begun = Instant::now();
    let so_far = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (mut watch, mut came) = (Watch::default(), Vec::<Connection>::new());
    loop {
        let open = open(&run.target.state());
        let is_old = |c: &Connection| before.iter().any(|b| b.inode == c.inode);
        let old = open.iter().any(is_old);
        watch.gone_after_ms = if old { None } else { watch.gone_after_ms.or_else(|| Some(so_far())) };
        came.extend(
            open.iter().filter(|c| !is_old(c) && !came.iter().any(|k| k.inode == c.inode)).cloned().collect::<Vec<_>>(),
        );
        if !super::super::wait(Duration::from_millis(50).min(time.saturating_sub(begun.elapsed())), &|| {
            given_up(&run.io.cancel)
        }) || begun.elapsed() >= time
        {
            watch.left = open;
            break;
        }
    }
    watch.watched_ms = so_far();
    watch.came = came;
    watch
}
