//! Quick hashes, for tables that are small or whose keys are hashes already. Whoever writes into the log can make them fall
//! together, so nothing may hang on them but speed.

use std::hash::Hasher;

const BY: u64 = 0x9e37_79b9_7f4a_7c15;

/// Of short texts and of hashes.
#[derive(Debug, Clone, Default)]
pub(super) struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            self.write_u64(part.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(BY).rotate_left(23);
    }
    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }
}

/// Of a longer text, for tables that compare what they find.
pub(super) fn mix(bytes: &[u8]) -> u64 {
    let (mut a, mut b) = (bytes.len() as u64, BY);
    let (words, rest) = bytes.as_chunks::<8>();
    for pair in words.chunks(2) {
        a = (a.rotate_left(23) ^ u64::from_le_bytes(pair[0])).wrapping_mul(BY);
        if let Some(second) = pair.get(1) {
            b = (b.rotate_left(29) ^ u64::from_le_bytes(*second)).wrapping_mul(BY);
        }
    }
    for byte in rest {
        a = (a.rotate_left(9) ^ u64::from(*byte)).wrapping_mul(BY);
    }
    (a ^ b.rotate_left(32)).wrapping_mul(BY)
}
