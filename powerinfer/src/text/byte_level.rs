//! GPT-2's alphabet: a printable character for every byte, so that merges are lists of words.

use std::sync::LazyLock;

/// The character of each byte: printable Latin-1 stands for itself, the 68 others follow U+00FF.
static CHAR_OF_BYTE: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut next_free = '\u{100}'..;
    std::array::from_fn(|i| match u8::try_from(i).map(char::from) {
        Ok(c @ ('!'..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{ff}')) => c,
        _ => next_free.next().expect("68 characters follow U+00FF"),
    })
});

/// The inverse, for U+0000 to U+0143; `None` where a character stands for no byte.
static BYTE_OF_CHAR: LazyLock<[Option<u8>; 0x144]> = LazyLock::new(|| {
    let mut table = [None; 0x144];
    for byte in 0..=u8::MAX {
        table[char_of_byte(byte) as usize] = Some(byte);
    }
    table
});

/// Gives the character that stands for `byte`.
pub(super) fn char_of_byte(byte: u8) -> char {
    CHAR_OF_BYTE[usize::from(byte)]
}

/// Writes `text` in the alphabet.
pub(super) fn spell(text: &str) -> String {
    text.bytes().map(char_of_byte).collect()
}

/// Reads a token back to bytes; `None` if it has a character outside the alphabet.
pub(super) fn unspell(token: &str) -> Option<Vec<u8>> {
    token.chars().map(|c| BYTE_OF_CHAR.get(c as usize).copied().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bytes_have_their_published_characters() {
        let cases = [(b' ', 'Ġ'), (b'\n', 'Ċ'), (b'\t', 'ĉ'), (0, 'Ā'), (0xad, 'Ń'), (b'a', 'a')];
        for (byte, expected) in cases {
            assert_eq!(char_of_byte(byte), expected, "byte {byte:#04x}");
        }
    }

    #[test]
    fn every_byte_survives_the_round_trip() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let spelled: String = all.iter().map(|&b| char_of_byte(b)).collect();
        assert_eq!(unspell(&spelled), Some(all));
    }

    #[test]
    fn a_character_outside_the_alphabet_is_not_read() {
        assert_eq!(unspell("a b"), None);
        assert_eq!(unspell("漢"), None);
    }
}
