//! Our own file of activation statistics: a line of JSON that says what follows, then the counts.
//!
//! Counts are whole numbers, layer by layer and neuron by neuron, in the variable length of LEB128:
//! seven bits a byte, low bits first, the high bit set where more follow.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::FormatError;
use super::{ActivationStatistics, StatisticsError};
use crate::cache_folder::write_beside;

/// What the first line begins with.
const BEGIN: &[u8] = b"{\"format\":\"powerinfer activation statistics\",";
const FORMAT: &str = "powerinfer activation statistics";
/// Changes when a file means something else.
const VERSION: u64 = 1;
/// Names of models are shorter.
const MAX_HEADER: u64 = 1 << 16;
/// A double holds every whole number below.
const LIMIT: f64 = 9_007_199_254_740_992.0; // 2^53
/// Bytes of the longest number.
const MAX_NUMBER: usize = 8;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u64,
    n_layers: u64,
    hidden_dim: u64,
    tokens: Option<u64>,
    model: Option<String>,
    /// Of shape and counts: see [`ActivationStatistics::fingerprint`].
    fingerprint: String,
}

pub(super) fn write(statistics: &ActivationStatistics, path: &Path) -> Result<(), StatisticsError> {
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        n_layers: statistics.n_layers() as u64,
        hidden_dim: statistics.hidden_dim as u64,
        tokens: statistics.tokens,
        model: statistics.model.clone(),
        fingerprint: statistics.fingerprint().to_string(),
    };
    let mut bytes = serde_json::to_vec(&header).expect("numbers and texts have a JSON form");
    bytes.push(b'\n');
    for (index, &count) in statistics.counts.iter().enumerate() {
        let whole = whole(count).ok_or_else(|| StatisticsError::Fraction {
            layer: index / statistics.hidden_dim,
            neuron: index % statistics.hidden_dim,
            found: count,
        })?;
        push(&mut bytes, whole);
    }
    write_beside(path, &bytes)
        .map_err(|source| StatisticsError::Write { path: path.to_owned(), source })
}

pub(super) fn read(path: &Path) -> Result<ActivationStatistics, StatisticsError> {
    let io = |source| StatisticsError::Read { path: path.to_owned(), source };
    let format = |source| StatisticsError::Format { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let mut line = Vec::new();
    (&mut reader).take(MAX_HEADER).read_until(b'\n', &mut line).map_err(io)?;
    let header = Header::parse(&line).map_err(format)?;
    // No more than the numbers may need, and a byte that tells of more.
    let limit = header.n_numbers().saturating_mul(MAX_NUMBER as u64).saturating_add(1);
    let mut bytes = Vec::new();
    reader.take(limit).read_to_end(&mut bytes).map_err(io)?;
    let source = path.display().to_string();
    header.statistics(&bytes, source).map_err(format)
}

impl Header {
    fn parse(line: &[u8]) -> Result<Self, FormatError> {
        if !line.starts_with(BEGIN) {
            return Err(FormatError::Foreign);
        }
        let value: serde_json::Value = serde_json::from_slice(line).map_err(FormatError::Header)?;
        if let Some(found) = value["version"].as_u64().filter(|&version| version != VERSION) {
            return Err(FormatError::Version { wanted: VERSION, found });
        }
        let header: Self = serde_json::from_value(value).map_err(FormatError::Header)?;
        let Self { n_layers, hidden_dim, .. } = header;
        if n_layers == 0 || hidden_dim == 0 {
            return Err(FormatError::Empty { n_layers, hidden_dim });
        }
        Ok(header)
    }

    fn n_numbers(&self) -> u64 {
        self.n_layers.saturating_mul(self.hidden_dim)
    }

    fn statistics(
        self,
        mut bytes: &[u8],
        source: String,
    ) -> Result<ActivationStatistics, FormatError> {
        let wanted = self.n_numbers();
        let available = bytes.len() as u64;
        if available < wanted {
            return Err(FormatError::Truncated { wanted, found: available });
        }
        let mut counts = Vec::new();
        for index in 0..wanted {
            if bytes.is_empty() {
                return Err(FormatError::Truncated { wanted, found: index });
            }
            let Some(count) = pop(&mut bytes) else {
                let is_cut = bytes.len() < MAX_NUMBER && bytes.iter().all(|byte| byte & 0x80 != 0);
                return Err(if is_cut {
                    FormatError::Truncated { wanted, found: index }
                } else {
                    FormatError::Number { index }
                });
            };
            counts.push(count);
        }
        if !bytes.is_empty() {
            return Err(FormatError::Trailing { wanted });
        }
        let hidden_dim = usize::try_from(self.hidden_dim).expect("so many numbers are in memory");
        let Self { tokens, model, fingerprint: wanted, .. } = self;
        let statistics = ActivationStatistics { hidden_dim, counts, tokens, model, source };
        let found = statistics.fingerprint().to_string();
        if found == wanted {
            Ok(statistics)
        } else {
            Err(FormatError::Fingerprint { wanted, found })
        }
    }
}

/// A number that the file can hold.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole and between 0 and 2^53"
)]
fn whole(count: f64) -> Option<u64> {
    ((0.0..LIMIT).contains(&count) && count.fract() == 0.0).then_some(count as u64)
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Takes one number off; `None`, with nothing taken, if there is none.
fn pop(bytes: &mut &[u8]) -> Option<f64> {
    let last = bytes.iter().take(MAX_NUMBER).position(|byte| byte & 0x80 == 0)?;
    let (number, rest) = bytes.split_at(last + 1);
    if last > 0 && number[last] == 0 {
        return None; // a longer form of a shorter number
    }
    let number = number.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
    #[expect(clippy::cast_precision_loss, reason = "refused where it loses something")]
    let count = Some(number as f64).filter(|&count| count < LIMIT)?;
    *bytes = rest;
    Some(count)
}
