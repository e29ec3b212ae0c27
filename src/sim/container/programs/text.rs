//! Programs that read texts.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::Call;
use super::expression::Expression;

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

pub fn cat(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let words = call.words();
    if !words.is_empty() {
        return call.each(&words, |call, _, bytes| call.out.write_all(bytes));
    }
    // As it comes: somebody may be typing.
    let mut buffer = vec![0; 64 << 10];
    loop {
        match call.input.read(&mut buffer)? {
            0 => return Ok(0),
            read => call.out.write_all(buffer.get(..read).unwrap_or_default())?,
        }
        call.out.flush()?;
    }
}

pub fn sha256sum(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let words = call.words();
    call.each(&words, |call, path, bytes| writeln!(call.out, "{}  {path}", sha256(bytes)))
}

pub fn head(call: &mut Call<'_, '_>) -> io::Result<i32> {
    ends(call, false)
}

pub fn tail(call: &mut Call<'_, '_>) -> io::Result<i32> {
    ends(call, true)
}

fn ends(call: &mut Call<'_, '_>, last: bool) -> io::Result<i32> {
    let short = call.args.iter().find_map(|a| a.strip_prefix('-')?.parse().ok());
    let bytes: Option<usize> = call.value("-c").and_then(|n| n.trim_start_matches('+').parse().ok());
    let from = call.value("-n").and_then(|n| n.strip_prefix('+')?.parse::<usize>().ok());
    let count: usize =
        call.value("-n").and_then(|n| n.trim_start_matches(['-', '+']).parse().ok()).or(short).unwrap_or(10);
    let words = call.words_beside("nc");
    let several = words.len() > 1;
    call.each(&words, |call, path, content| {
        if several {
            writeln!(call.out, "==> {path} <==")?;
        }
        if let Some(bytes) = bytes {
            let at = if last { content.len().saturating_sub(bytes) } else { content.len().min(bytes) };
            let (front, back) = content.split_at(at);
            return call.out.write_all(if last { back } else { front });
        }
        let lines: Vec<&[u8]> = content.split_inclusive(|b| *b == b'\n').collect();
        let skip = match from {
            Some(from) => from.saturating_sub(1),
            None if last => lines.len().saturating_sub(count),
            None => 0,
        };
        let most = if from.is_some() { usize::MAX } else { count };
        lines.into_iter().skip(skip).take(most).try_for_each(|line| call.out.write_all(line))
    })
}

pub fn wc(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let words = call.words();
    let all = !"lwc".chars().any(|c| call.has(c));
    call.each(&words, |call, path, bytes| {
        let lines = bytes.iter().filter(|b| **b == b'\n').count();
        let counts =
            [('l', lines), ('w', String::from_utf8_lossy(bytes).split_whitespace().count()), ('c', bytes.len())];
        let shown: Vec<usize> = counts.into_iter().filter(|(o, _)| all || call.has(*o)).map(|(_, n)| n).collect();
        let text = if let [one] = shown.as_slice() {
            one.to_string()
        } else {
            shown.iter().map(|n| format!("{n:>10}")).collect()
        };
        writeln!(call.out, "{text}{}", if path == "-" { String::new() } else { format!(" {path}") })
    })
}

pub fn tee(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let mut code = 0;
    let mut to = vec![call.out.clone()];
    for path in call.words() {
        match call.shell.create(&path, call.has('a')) {
            Ok(stream) => to.push(stream),
            Err(why) => {
                call.complain(&format!("{path}: {why}"))?;
                code = 1;
            }
        }
    }
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = call.input.read(&mut buffer)?;
        if read == 0 {
            return Ok(code);
        }
        for stream in &mut to {
            stream.write_all(buffer.get(..read).unwrap_or_default())?;
        }
    }
}

/// The bytes of a set of `tr`: ranges, escapes.
fn set(text: &str) -> Vec<u8> {
    let (mut out, bytes) = (Vec::new(), text.as_bytes());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        let digits =
            bytes.get(at..).unwrap_or_default().iter().take(3).take_while(|b| (b'0'..=b'7').contains(*b)).count();
        let one = match (byte, bytes.get(at)) {
            (b'\\', _) if digits > 0 => {
                let octal = bytes.get(at..at + digits).unwrap_or_default();
                at += digits;
                octal.iter().fold(0_u8, |n, d| n.wrapping_mul(8).wrapping_add(d - b'0'))
            }
            (b'\\', Some(next)) => {
                at += 1;
                match next {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    other => *other,
                }
            }
            _ => *byte,
        };
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'-'), Some(to)) if *to >= one => {
                out.extend(one..=*to);
                at += 2;
            }
            _ => out.push(one),
        }
    }
    out
}

pub fn tr(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let words = call.words();
    let set_of = |n: usize| {
        words
            .get(n)
            .map(|w| set(&w.replace("[:upper:]", "A-Z").replace("[:lower:]", "a-z").replace("[:space:]", " \\t\\n\\r")))
    };
    let (from, to) = (set_of(0).unwrap_or_default(), set_of(1).unwrap_or_default());
    let delete = call.has('d');
    let mut last = None;
    let mut out = Vec::new();
    for byte in call.whole_input() {
        let place = from.iter().position(|b| *b == byte);
        let new = match place {
            Some(_) if delete => continue,
            Some(at) => to.get(at).or(to.last()).copied().unwrap_or(byte),
            None => byte,
        };
        if call.has('s') && place.is_some() && last == Some(new) {
            continue;
        }
        last = Some(new);
        out.push(new);
    }
    call.out.write_all(&out)?;
    Ok(0)
}

pub fn grep(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let mut words = call.words_beside("e");
    let pattern = match call.value("-e") {
        Some(pattern) => pattern.to_string(),
        None if words.is_empty() => return Ok(2),
        None => words.remove(0),
    };
    let fold = call.has('i');
    let expression = Expression::new(&pattern, call.has('E'), call.has('F'), fold);
    if call.has('r') || call.has('R') {
        let bases = if words.is_empty() { vec![".".to_string()] } else { words };
        words = bases.iter().flat_map(|base| super::find::below(call, base)).map(|(path, _)| path).collect();
        words.retain(|p| call.shell.view(|v| v.stat(&call.shell.cwd, p, false)).is_ok_and(|n| !n.is_directory()));
    }
    let named = words.len() > 1 || call.has('r') || call.has('R');
    let mut found = false;
    let code = call.each(&words, |call, path, bytes| {
        let name = if named && !call.has('h') { format!("{path}:") } else { String::new() };
        let mut count = 0;
        for (n, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
            let hit = expression.find(line);
            if hit.is_some() == call.has('v') {
                continue;
            }
            (found, count) = (true, count + 1);
            if call.has('q') || call.has('c') || call.has('l') {
                continue;
            }
            let number = if call.has('n') { format!("{}:", n + 1) } else { String::new() };
            let shown = if call.has('o') { hit.unwrap_or_default() } else { line.into() };
            writeln!(call.out, "{name}{number}{shown}")?;
        }
        if call.has('c') {
            writeln!(call.out, "{name}{count}")?;
        } else if call.has('l') && count > 0 {
            writeln!(call.out, "{path}")?;
        }
        Ok(())
    })?;
    Ok(if found { 0 } else { (code * 2).max(1) })
}
