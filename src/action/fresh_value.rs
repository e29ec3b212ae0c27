//! A new secret value: generated from the operating system's randomness, or what a program of the responder's prints.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Problem;
use super::program::Program;

/// Bytes that a program may print as a value: a Secret holds at most 1 MiB
/// (<https://kubernetes.io/docs/concepts/configuration/secret/>).
const MAX_VALUE: usize = 1024 * 1024;

/// A value to be generated.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Generate {
    /// Characters, 16 to 128. Default: 32.
    #[serde(default = "length")]
    pub length: u32,
    /// What they are taken from: `alphanumeric` (the default), `hex` or `base64url`.
    #[serde(default)]
    pub alphabet: Alphabet,
}

/// What a generated value is made of.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Alphabet {
    /// A-Z, a-z, 0-9: about 5.95 bits a character.
    #[default]
    Alphanumeric,
    /// 0-9, a-f: 4 bits a character.
    Hex,
    /// A-Z, a-z, 0-9, `-`, `_`: 6 bits a character.
    Base64url,
}

/// A program that prints the new value.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Issue {
    /// The program and its arguments; no shell reads them. Shown and recorded: never put a secret here.
    pub argv: Vec<String>,
    /// Names of environment variables that it is given beside PATH; it is given no others.
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds after which it is killed. Default: 60.
    #[serde(default = "minute")]
    pub timeout: u64,
}

fn length() -> u32 {
    32
}

fn minute() -> u64 {
    60
}

/// A secret value. It has no `Debug` and no `Display`, so that it can't slip into a message.
pub(super) struct Fresh(pub Vec<u8>);

impl Generate {
    pub fn blocker(&self) -> Option<String> {
        (!(16..=128).contains(&self.length)).then(|| format!("`length` must be 16 to 128, not {}", self.length))
    }

    /// A new value; each character equally likely.
    pub fn value(&self) -> Result<Fresh, Problem> {
        let alphabet: &[u8] = match self.alphabet {
            Alphabet::Alphanumeric => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            Alphabet::Hex => b"0123456789abcdef",
            Alphabet::Base64url => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        };
        let path = Path::new("/dev/urandom");
        let io = |e: std::io::Error| Problem::failed(format!("can't read {}: {e}", path.display()));
        let mut random = File::open(path).map_err(io)?;
        // Bytes past the last whole multiple would make the first characters likelier: they are thrown away.
        let bound = 256 - 256 % alphabet.len();
        let wanted = self.length as usize;
        let mut value = Vec::with_capacity(wanted);
        let mut pool = [0u8; 256];
        while value.len() < wanted {
            random.read_exact(&mut pool).map_err(io)?;
            let good = pool.iter().map(|b| *b as usize).filter(|b| *b < bound);
            value.extend(good.map(|b| alphabet[b % alphabet.len()]).take(wanted - value.len()));
        }
        Ok(Fresh(value))
    }
}

impl Issue {
    fn program(&self) -> Program<'_> {
        Program { argv: &self.argv, env: &self.env, cwd: None, timeout: Duration::from_secs(self.timeout) }
    }

    pub fn blockers(&self) -> Vec<String> {
        self.program().blockers()
    }

    pub fn unset(&self) -> Vec<String> {
        self.program().unset()
    }

    /// What the program prints, without the newline at its end.
    ///
    /// Errors never hold what it printed, not even as errors: either may be the value.
    pub async fn value(&self) -> Result<Fresh, Problem> {
        let name = self.argv.first().cloned().unwrap_or_default();
        let mut value = Vec::new();
        let mut too_long = false;
        let ended = self
            .program()
            .run(
                &mut |bytes| {
                    too_long |= value.len() + bytes.len() > MAX_VALUE + 2;
                    if !too_long {
                        value.extend_from_slice(bytes);
                    }
                    Ok(())
                },
                &mut |_| Ok(()),
            )
            .await?;
        let hint = "what it printed is not shown, for it may hold the value; run it by hand to see";
        if !ended.success() || ended.lingered {
            return Err(Problem::failed(format!("the program {name:?} ended with {}", ended.text())).hint(hint));
        }
        if value.last() == Some(&b'\n') {
            value.pop();
            if value.last() == Some(&b'\r') {
                value.pop();
            }
        }
        if too_long || value.len() > MAX_VALUE {
            return Err(Problem::failed(format!("the program {name:?} printed more than 1 MiB")).hint(hint));
        }
        if value.is_empty() {
            return Err(Problem::failed(format!("the program {name:?} printed nothing")).hint(hint));
        }
        Ok(Fresh(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_values_have_their_length_and_alphabet() {
        for (alphabet, good) in [
            (Alphabet::Alphanumeric, (|b| b.is_ascii_alphanumeric()) as fn(&u8) -> bool),
            (Alphabet::Hex, |b| b.is_ascii_hexdigit()),
            (Alphabet::Base64url, |b| b.is_ascii_alphanumeric() || b"-_".contains(b)),
        ] {
            let one = Generate { length: 128, alphabet }.value().unwrap().0;
            let two = Generate { length: 128, alphabet }.value().unwrap().0;
            assert!(one.len() == 128 && one.iter().all(good) && one != two);
        }
        assert!(Generate { length: 8, alphabet: Alphabet::Hex }.blocker().is_some());
    }

    #[tokio::test]
    async fn a_programs_value_never_reaches_an_error() {
        let issue =
            |script: &str| Issue { argv: vec!["sh".into(), "-c".into(), script.into()], env: vec![], timeout: 10 };
        assert_eq!(issue("printf 'new value\\r\\n'").value().await.ok().unwrap().0, b"new value");
        for script in ["echo hunter2; echo hunter2 >&2; exit 1", "true", "head -c 2000000 /dev/zero", "kill -9 $$"] {
            let problem = issue(script).value().await.err().unwrap();
            assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
        }
    }
}
