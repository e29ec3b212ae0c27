//! `$((…))`: whole numbers, the usual operators, variables by their names.

use super::Shell;

/// From the weakest.
const LEVELS: [&[&str]; 6] = [&["||"], &["&&"], &["==", "!="], &["<=", ">=", "<", ">"], &["+", "-"], &["*", "/", "%"]];

/// Deeper nesting is refused.
const MAX_DEPTH: u32 = 30;

struct Expression<'a> {
    rest: &'a str,
    depth: u32,
}

impl Shell<'_> {
    /// The value of an expression; None when it is none.
    pub(super) fn arithmetic(&self, text: &str) -> Option<i64> {
        let mut expression = Expression { rest: text, depth: 0 };
        let value = expression.level(self, 0)?;
        expression.rest.trim().is_empty().then_some(value)
    }
}

impl Expression<'_> {
    fn level(&mut self, shell: &Shell<'_>, level: usize) -> Option<i64> {
        let Some(operators) = LEVELS.get(level) else { return self.single(shell) };
        let mut left = self.level(shell, level + 1)?;
        loop {
            self.rest = self.rest.trim_start();
            let Some(operator) = operators.iter().find(|o| self.rest.starts_with(**o)) else { return Some(left) };
            self.rest = self.rest.get(operator.len()..)?;
            let right = self.level(shell, level + 1)?;
            left = match *operator {
                "||" => i64::from(left != 0 || right != 0),
                "&&" => i64::from(left != 0 && right != 0),
                "==" => i64::from(left == right),
                "!=" => i64::from(left != right),
                "<=" => i64::from(left <= right),
                ">=" => i64::from(left >= right),
                "<" => i64::from(left < right),
                ">" => i64::from(left > right),
                "+" => left.wrapping_add(right),
                "-" => left.wrapping_sub(right),
                "*" => left.wrapping_mul(right),
                "/" => left.checked_div(right)?,
                _ => left.checked_rem(right)?,
            };
        }
    }

    fn single(&mut self, shell: &Shell<'_>) -> Option<i64> {
        self.rest = self.rest.trim_start();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let value = if let Some(rest) = self.rest.strip_prefix('-') {
            self.rest = rest;
            self.single(shell)?.wrapping_neg()
        } else if let Some(rest) = self.rest.strip_prefix('!') {
            self.rest = rest;
            i64::from(self.single(shell)? == 0)
        } else if let Some(rest) = self.rest.strip_prefix('(') {
            self.rest = rest;
            let value = self.level(shell, 0)?;
            self.rest = self.rest.trim_start().strip_prefix(')')?;
            value
        } else {
            let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            if word.is_empty() {
                return None;
            }
            if word.starts_with(|c: char| c.is_ascii_digit()) {
                match (word.strip_prefix("0x"), word.strip_prefix('0').filter(|w| !w.is_empty())) {
                    (Some(hex), _) => i64::from_str_radix(hex, 16).ok()?,
                    (None, Some(octal)) => i64::from_str_radix(octal, 8).ok()?,
                    (None, None) => word.parse().ok()?,
                }
            } else {
                shell.get(word).unwrap_or_default().trim().parse().unwrap_or(0)
            }
        };
        self.depth -= 1;
        Some(value)
    }
}
