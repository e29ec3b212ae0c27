//! Programs that show processes and sockets, and end them.

use std::io::{self, Write};

use super::super::inside::SocketSpec;
use super::super::procfs;
use super::super::state::Process;
use super::{Call, date_time};

fn command(process: &Process) -> String {
    if process.cmdline.is_empty() { format!("[{}]", process.comm) } else { process.cmdline.join(" ") }
}

pub fn ps(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let rows: Vec<(Process, String)> = call.shell.view(|v| {
        let user = |p: &Process| v.name_of("/etc/passwd", p.uid).unwrap_or_else(|| p.uid.to_string());
        v.state.processes.values().map(|p| (p.clone(), user(p))).collect()
    });
    let bsd = call.args.iter().any(|a| a.trim_start_matches('-').contains('u') && a.contains('a'));
    let full = call.has('f');
    writeln!(
        call.out,
        "{}",
        match (bsd, full) {
            (true, _) => "USER       PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND",
            (_, true) => "UID        PID  PPID  C STIME TTY          TIME CMD",
            _ => "PID   USER     TIME  COMMAND",
        }
    )?;
    for (p, user) in rows {
        let date = date_time(p.started);
        let clock = date.get(11..16).unwrap_or_default();
        let tty = if p.tty { "pts/0" } else { "?" };
        let (pid, cmd) = (p.pid, command(&p));
        match (bsd, full) {
            (true, _) => {
                writeln!(call.out, "{user:<8} {pid:>5}  0.0  0.0   4344  2048 {tty:<8} Ss   {clock:>5}   0:00 {cmd}")?
            }
            (_, true) => writeln!(call.out, "{user:<8} {pid:>5} {:>5}  0 {clock:>5} {tty:<8} 00:00:00 {cmd}", p.ppid)?,
            _ => writeln!(call.out, "{pid:>5} {user:<8}  0:00 {cmd}")?,
        }
    }
    Ok(0)
}

pub fn kill(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let mut signal = "TERM".to_string();
    let mut code = 0;
    let mut rest = call.args.iter();
    let mut pids = Vec::new();
    while let Some(word) = rest.next() {
        match word.strip_prefix('-') {
            Some("s") => signal = rest.next().cloned().unwrap_or_default(),
            Some("l") => return writeln!(call.out, "HUP INT QUIT KILL TERM").map(|()| 0),
            Some(name) if !name.is_empty() => signal = name.trim_start_matches("SIG").into(),
            _ => pids.push(word.clone()),
        }
    }
    for word in pids {
        let uid = call.shell.container.uid;
        let looked = word.parse().ok().and_then(|pid: u32| call.shell.container.state().processes.get(&pid).cloned());
        match looked {
            None => {
                call.complain(&format!("can't kill pid {word}: No such process"))?;
                code = 1;
            }
            Some(p) if uid != 0 && uid != p.uid => {
                call.complain(&format!("can't kill pid {word}: Operation not permitted"))?;
                code = 1;
            }
            // The kernel keeps SIGKILL and SIGSTOP from within away from a namespace's first process.
            Some(p) if p.pid == 1 && matches!(signal.as_str(), "9" | "KILL" | "19" | "STOP") => {}
            Some(_) if matches!(signal.as_str(), "0" | "18" | "CONT" | "19" | "STOP" | "17" | "CHLD") => {}
            Some(p) => {
                call.shell.container.end_process(p.pid);
            }
        }
    }
    Ok(code)
}

fn sockets(call: &Call<'_, '_>) -> Vec<(u32, String, SocketSpec)> {
    let udp = call.has('u') || !call.has('t');
    let tcp = call.has('t') || !call.has('u');
    let listening = call.has('l');
    call.shell.view(|v| {
        procfs::sockets(v)
            .filter(|(_, _, s)| if s.protocol.starts_with("tcp") { tcp } else { udp })
            .filter(|(_, _, s)| call.has('a') || (s.state == "LISTEN") == listening)
            .map(|(p, _, s)| (p.pid, p.comm.clone(), s.clone()))
            .collect()
    })
}

fn open_end(address: &str) -> String {
    address
        .strip_suffix(":0")
        .map_or_else(|| address.to_string(), |host| format!("{}:*", host.trim_matches(['[', ']'])))
}

pub fn netstat(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let which = if call.has('a') {
        "servers and established"
    } else if call.has('l') {
        "only servers"
    } else {
        "w/o servers"
    };
    let head = "Proto Recv-Q Send-Q Local Address           Foreign Address         State      ";
    writeln!(
        call.out,
        "Active Internet connections ({which})\n{head} {}",
        if call.has('p') { " PID/Program name    " } else { "" }
    )?;
    for (pid, comm, s) in sockets(call) {
        let program = if call.has('p') { format!(" {pid}/{comm}") } else { String::new() };
        let state = if s.protocol.starts_with("tcp") { s.state.as_str() } else { "" };
        writeln!(
            call.out,
            "{:<5} {:>6} {:>6} {:<23} {:<23} {state:<11}{program}",
            s.protocol,
            0,
            0,
            open_end(&s.local),
            open_end(&s.remote)
        )?;
    }
    Ok(0)
}

pub fn ss(call: &mut Call<'_, '_>) -> io::Result<i32> {
    writeln!(call.out, "Netid State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process")?;
    for (pid, comm, s) in sockets(call) {
        let state = match s.state.as_str() {
            "ESTABLISHED" => "ESTAB",
            other => other,
        };
        let users = if call.has('p') { format!(" users:((\"{comm}\",pid={pid},fd=3))") } else { String::new() };
        writeln!(
            call.out,
            "{:<5} {state:<6} 0      0      {} {}{users}",
            s.protocol.trim_end_matches('6'),
            open_end(&s.local),
            open_end(&s.remote)
        )?;
    }
    Ok(0)
}
