//! Programs that say something of the system, and those that do next to nothing.

use std::io::{self, Write};
use std::time::Duration;

use super::super::{now, procfs, shell, wait};
use super::{Call, date_time, month};

pub fn echo(call: &mut Call<'_, '_>) -> io::Result<i32> {
    call.out.write_all(shell::echo(call.args).as_bytes())?;
    Ok(0)
}

pub fn printf(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let Some((format, args)) = call.args.split_first() else { return Ok(1) };
    call.out.write_all(shell::printf(format, args).as_bytes())?;
    Ok(0)
}

pub fn test(call: &mut Call<'_, '_>) -> io::Result<i32> {
    Ok(i32::from(!call.shell.test(call.args)))
}

pub fn pwd(call: &mut Call<'_, '_>) -> io::Result<i32> {
    writeln!(call.out, "{}", if call.shell.cwd.is_empty() { "/" } else { &call.shell.cwd })?;
    Ok(0)
}

pub fn env(call: &mut Call<'_, '_>) -> io::Result<i32> {
    if let Some(name) = call.words().first().filter(|_| call.name == "printenv") {
        let value = call.shell.environment().into_iter().find(|(n, _)| n == name);
        return value.map_or(Ok(1), |(_, value)| writeln!(call.out, "{value}").map(|()| 0));
    }
    if let Some(at) = call.args.iter().position(|a| !a.contains('=') && !a.starts_with('-')) {
        let (_, program) = call.args.split_at(at);
        return Ok(call.shell.external(program));
    }
    for (name, value) in call.shell.environment() {
        writeln!(call.out, "{name}={value}")?;
    }
    Ok(0)
}

pub fn id(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let uid = call.shell.container.uid;
    if call.has('u') || call.has('g') {
        writeln!(call.out, "{}", if call.has('u') { uid } else { 0 })?;
        return Ok(0);
    }
    let name = call.shell.view(|v| v.name_of("/etc/passwd", uid)).map(|n| format!("({n})")).unwrap_or_default();
    writeln!(call.out, "uid={uid}{name} gid=0(root) groups=0(root)")?;
    Ok(0)
}

pub fn whoami(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let uid = call.shell.container.uid;
    match call.shell.view(|v| v.name_of("/etc/passwd", uid)) {
        Some(name) => writeln!(call.out, "{name}").map(|()| 0),
        None => call.complain(&format!("unknown uid {uid}")).map(|()| 1),
    }
}

pub fn hostname(call: &mut Call<'_, '_>) -> io::Result<i32> {
    writeln!(call.out, "{}", call.shell.container.facts.hostname)?;
    Ok(0)
}

pub fn uname(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let host = call.shell.container.facts.hostname.clone();
    let release = procfs::release();
    let all = [
        ('s', "Linux"),
        ('n', host.as_str()),
        ('r', release),
        ('v', "#1 SMP PREEMPT_DYNAMIC"),
        ('m', "x86_64"),
        ('o', "GNU/Linux"),
    ];
    let none = call.args.is_empty();
    let shown: Vec<&str> =
        all.iter().filter(|(o, _)| call.has('a') || call.has(*o) || none && *o == 's').map(|(_, text)| *text).collect();
    writeln!(call.out, "{}", shown.join(" "))?;
    Ok(0)
}

pub fn date(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let now = now();
    let text = date_time(now);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    if let Some(format) = call.args.iter().find_map(|a| a.strip_prefix('+')) {
        let shown = format
            .replace("%F", "%Y-%m-%d")
            .replace("%T", "%H:%M:%S")
            .replace("%s", &now.to_string())
            .replace("%Y", part(0, 4))
            .replace("%m", part(5, 7))
            .replace("%d", part(8, 10))
            .replace("%H", part(11, 13))
            .replace("%M", part(14, 16))
            .replace("%S", part(17, 19))
            .replace("%Z", "UTC");
        writeln!(call.out, "{shown}")?;
        return Ok(0);
    }
    // 1970 began on a Thursday.
    let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let day = usize::try_from(now / 86_400 % 7).ok().and_then(|d| days.get(d)).unwrap_or(&"Thu");
    let number = part(8, 10).trim_start_matches('0');
    writeln!(call.out, "{day} {} {number:>2} {} UTC {}", month(&text), part(11, 19), part(0, 4))?;
    Ok(0)
}

pub fn sleep(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let mut seconds = 0.0;
    for word in call.words() {
        let (number, unit) = match word.strip_suffix(['s', 'm', 'h', 'd']) {
            Some(number) => (number, word.chars().last()),
            None => (word.as_str(), None),
        };
        let factor = match unit {
            Some('m') => 60.0,
            Some('h') => 3600.0,
            Some('d') => 86_400.0,
            _ => 1.0,
        };
        match number.parse::<f64>() {
            Ok(n) if n.is_finite() => seconds += n * factor,
            _ if word == "infinity" => seconds = 1e9,
            _ => {
                call.complain(&format!("invalid number '{word}'"))?;
                return Ok(1);
            }
        }
    }
    let shell = &*call.shell;
    let whole = wait(Duration::from_secs_f64(seconds.clamp(0.0, 1e9)), &|| shell.cancelled());
    Ok(if whole { 0 } else { 137 })
}

pub fn mount(call: &mut Call<'_, '_>) -> io::Result<i32> {
    if !call.args.is_empty() {
        call.complain("permission denied (are you root?)")?;
        return Ok(1);
    }
    for m in call.shell.view(procfs::mounts) {
        writeln!(call.out, "{} on {} type {} ({})", m.source, m.point, m.kind, m.options)?;
    }
    Ok(0)
}

pub fn df(call: &mut Call<'_, '_>) -> io::Result<i32> {
    writeln!(call.out, "Filesystem           1K-blocks      Used Available Use% Mounted on")?;
    for m in call.shell.view(procfs::mounts) {
        let size: u64 = match m.kind {
            "overlay" | "ext4" => 41_152_736,
            "tmpfs" => 65_536,
            _ => continue,
        };
        let used = if m.kind == "tmpfs" { 0 } else { 9_731_112 };
        writeln!(
            call.out,
            "{:<20} {size:>9} {used:>9} {:>9} {:>3}% {}",
            m.source,
            size - used,
            used * 100 / size,
            m.point
        )?;
    }
    Ok(0)
}

pub fn which(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let mut code = 0;
    for name in call.words() {
        let path = call.shell.located(&name);
        if call.shell.view(|v| v.stat(&call.shell.cwd, &path, true)).is_ok() && path.contains('/') {
            writeln!(call.out, "{path}")?;
        } else {
            code = 1;
        }
    }
    Ok(code)
}
