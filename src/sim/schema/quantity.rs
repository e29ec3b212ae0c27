//! `resource.Quantity`: amounts such as `500m` and `1Gi`, their parsing, their canonical form and their order.
use std::fmt;

/// How an amount is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// An amount of a resource, in billionths (as the server, which rounds what is smaller up).
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantity {
    nano: i128,
    format: Format,
}

const NANO: i128 = 1_000_000_000;
const DECIMAL: [(&str, u32); 10] =
    [("E", 27), ("P", 24), ("T", 21), ("G", 18), ("M", 15), ("k", 12), ("", 9), ("m", 6), ("u", 3), ("n", 0)];
const BINARY: [(&str, u32); 6] = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];

impl Quantity {
    /// The amount that a text says, if it says one.
    pub(super) fn parse(s: &str) -> Option<Self> {
        let end = s.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '+' || c == '-')).unwrap_or(s.len());
        let (number, suffix) = s.split_at_checked(end)?;
        let (scale, format) = scale(suffix)?;
        let negative = number.starts_with('-');
        let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty()
            || !(whole.bytes().chain(fraction.bytes())).all(|c| c.is_ascii_digit())
        {
            return None;
        }
        let all: i128 = format!("0{whole}{fraction}").parse().ok()?;
        let scaled = all.checked_mul(scale)?;
        let divisor = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let nano = scaled.checked_add(divisor - 1)?.checked_div(divisor)?;
        Some(Quantity { nano: if negative { -nano } else { nano }, format })
    }

    /// Whether it is a whole number.
    pub(super) fn is_integer(&self) -> bool {
        self.nano % NANO == 0
    }

    /// Less than nothing.
    pub(super) fn is_negative(&self) -> bool {
        self.nano < 0
    }

    /// Nothing.
    pub(super) fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// Compares two amounts, however they are written.
    pub(super) fn amount(&self) -> i128 {
        self.nano
    }
}

/// A unit in billionths.
fn scale(suffix: &str) -> Option<(i128, Format)> {
    if let Some((_, bits)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Some((NANO.checked_mul(1 << bits)?, Format::Binary));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Some((10_i128.checked_pow(*power)?, Format::Decimal));
    }
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((10_i128.checked_pow(u32::try_from(power.checked_add(9)?).ok()?)?, Format::Exponent))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        // Small and broken amounts are written in decimal whatever they were given as.
        if self.format == Format::Binary && self.is_integer() && self.nano.abs() >= 1024 * NANO {
            let whole = self.nano / NANO;
            let unit = BINARY.iter().find(|(_, bits)| whole % (1_i128 << bits) == 0);
            let (suffix, bits) = unit.copied().unwrap_or(("", 0));
            return write!(f, "{}{suffix}", whole / (1_i128 << bits));
        }
        for (suffix, power) in DECIMAL {
            let unit = 10_i128.checked_pow(power).unwrap_or(1);
            if self.nano % unit == 0 {
                let amount = self.nano / unit;
                return match (self.format, i64::from(power) - 9) {
                    (Format::Exponent, 0) => write!(f, "{amount}"),
                    (Format::Exponent, exponent) => write!(f, "{amount}e{exponent}"),
                    _ => write!(f, "{amount}{suffix}"),
                };
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form() {
        for (given, canonical) in [
            ("1", "1"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1073741824", "1073741824"),
            ("512", "512"),
            ("1000", "1k"),
            ("0.5Ki", "512"),
            ("-1", "-1"),
            ("0", "0"),
            ("100M", "100M"),
            ("1Ki", "1Ki"),
            ("1.5", "1500m"),
            ("0.0000000001", "1n"),
            (".5", "500m"),
            ("1.", "1"),
        ] {
            assert_eq!(Quantity::parse(given).unwrap().to_string(), canonical, "{given}");
        }
        for bad in ["", "abc", "1Foo", "1 ", "--1", "1mm", "."] {
            assert!(Quantity::parse(bad).is_none(), "{bad}");
        }
    }
}
