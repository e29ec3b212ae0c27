//! Headers of a pax archive (POSIX.1-2001, "pax Interchange Format"), written by hand: three times with nanoseconds
//! each, for the change time is what a forged modification time does not agree with.

use rustix::fs::{FileType, Stat};

/// Everything but the content.
#[derive(Default)]
pub struct Entry<'a> {
    /// `0` file, `1` hard link, `2` symbolic link, `3` character device, `4` block device, `5` directory, `6` FIFO.
    pub kind: u8,
    /// As in the archive; of a directory with a slash at its end.
    pub name: &'a [u8],
    /// Of a link.
    pub target: &'a [u8],
    /// Bytes that follow.
    pub size: u64,
    /// More pax records.
    pub more: Vec<(&'a str, Vec<u8>)>,
}

/// The kind of a tar entry for what a file is; None for sockets, which tar has no form for.
pub fn kind_of(file: FileType) -> Option<u8> {
    match file {
        FileType::RegularFile => Some(b'0'),
        FileType::Symlink => Some(b'2'),
        FileType::CharacterDevice => Some(b'3'),
        FileType::BlockDevice => Some(b'4'),
        FileType::Directory => Some(b'5'),
        FileType::Fifo => Some(b'6'),
        _ => None,
    }
}

/// Appends the entry's header blocks: a pax header and the entry's own.
pub fn write(into: &mut Vec<u8>, entry: &Entry<'_>, stat: &Stat) {
    let mut records = Vec::with_capacity(256);
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    if !text(entry.name) || !text(entry.target) {
        record(&mut records, "hdrcharset", b"BINARY");
    }
    if entry.name.len() > 100 {
        record(&mut records, "path", entry.name);
    }
    if entry.target.len() > 100 {
        record(&mut records, "linkpath", entry.target);
    }
    for (key, number, bits) in
        [("size", entry.size, 33), ("uid", u64::from(stat.st_uid), 21), ("gid", u64::from(stat.st_gid), 21)]
    {
        if number >> bits != 0 {
            record(&mut records, key, number.to_string().as_bytes());
        }
    }
    for (key, seconds, nanos) in [
        ("mtime", i128::from(stat.st_mtime), stat.st_mtime_nsec),
        ("atime", i128::from(stat.st_atime), stat.st_atime_nsec),
        ("ctime", i128::from(stat.st_ctime), stat.st_ctime_nsec),
    ] {
        record(&mut records, key, time(seconds, nanos).as_bytes());
    }
    for (key, value) in &entry.more {
        record(&mut records, key, value);
    }
    let mut pax_name = b"PaxHeaders/".to_vec();
    pax_name.extend_from_slice(entry.name.strip_suffix(b"/").unwrap_or(entry.name));
    let mut head = block(b'x', &pax_name, b"", records.len() as u64, stat);
    seal(&mut head);
    into.extend_from_slice(&head);
    into.extend_from_slice(&records);
    into.resize(into.len().next_multiple_of(512), 0);

    let mut own = block(entry.kind, entry.name, entry.target, entry.size, stat);
    octal(&mut own[100..108], u64::from(stat.st_mode & 0o7777));
    octal(&mut own[108..116], u64::from(stat.st_uid));
    octal(&mut own[116..124], u64::from(stat.st_gid));
    if matches!(entry.kind, b'3' | b'4') {
        octal(&mut own[329..337], u64::from(rustix::fs::major(stat.st_rdev)));
        octal(&mut own[337..345], u64::from(rustix::fs::minor(stat.st_rdev)));
    }
    seal(&mut own);
    into.extend_from_slice(&own);
}

fn block(kind: u8, name: &[u8], target: &[u8], size: u64, stat: &Stat) -> [u8; 512] {
    let mut block = [0; 512];
    let fit = |field: &mut [u8], bytes: &[u8]| {
        let length = bytes.len().min(field.len());
        field[..length].copy_from_slice(&bytes[..length]);
    };
    fit(&mut block[..100], name);
    octal(&mut block[100..108], 0o644);
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], u64::try_from(i128::from(stat.st_mtime)).unwrap_or(0));
    block[156] = kind;
    fit(&mut block[157..257], target);
    block[257..265].copy_from_slice(b"ustar\x0000");
    block
}

/// The number in octal with a NUL at the end; zero when it does not fit, for then a pax record has it.
fn octal(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    let number = if number >> (3 * digits) == 0 { number } else { 0 };
    for (place, digit) in field[..digits].iter_mut().rev().enumerate() {
        *digit = b'0' + u8::try_from(number >> (3 * place) & 7).unwrap_or(0);
    }
    field[digits] = 0;
}

fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    octal(&mut block[148..155], sum);
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
fn record(into: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    into.extend_from_slice(format!("{length} {key}=").as_bytes());
    into.extend_from_slice(value);
    into.push(b'\n');
}

/// Seconds since 1970 with nine decimals; before 1970 the fraction still counts upwards, which decimals do not.
fn time(seconds: i128, nanos: u64) -> String {
    let all = seconds * 1_000_000_000 + i128::from(nanos);
    let sign = if all < 0 { "-" } else { "" };
    format!("{sign}{}.{:09}", all.unsigned_abs() / 1_000_000_000, all.unsigned_abs() % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_length_counts_itself() {
        for size in [1, 85, 86, 87, 88, 89, 980, 985, 990, 9990] {
            let mut out = Vec::new();
            record(&mut out, "path", &vec![b'x'; size]);
            let said: usize = String::from_utf8(out.clone()).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, out.len(), "{size}");
        }
    }

    #[test]
    fn times_before_1970_are_written_as_decimals() {
        assert_eq!(time(1, 5), "1.000000005");
        assert_eq!(time(-2, 750_000_000), "-1.250000000");
        assert_eq!(time(0, 0), "0.000000000");
    }
}
