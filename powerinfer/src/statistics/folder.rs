//! A folder of `activation_<layer>.pt`: one vector for each layer, which is known by its number.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::torch::read_torch_vector;
use super::{ActivationStatistics, StatisticsError};

pub(super) fn read(folder: &Path) -> Result<ActivationStatistics, StatisticsError> {
    let mut counts = Vec::new();
    let mut hidden_dim = 0;
    for path in files(folder)? {
        let layer = vector(&path)?;
        hidden_dim = if counts.is_empty() { layer.len() } else { hidden_dim };
        if layer.len() != hidden_dim {
            return Err(StatisticsError::NeuronCount {
                source_name: path.display().to_string(),
                wanted: hidden_dim,
                found: layer.len(),
            });
        }
        counts.extend(layer);
    }
    let source = folder.display().to_string();
    Ok(ActivationStatistics { hidden_dim, counts, tokens: None, model: None, source })
}

/// The files in the order of their layers, none of which is missing.
fn files(folder: &Path) -> Result<Vec<PathBuf>, StatisticsError> {
    let read = |source| StatisticsError::Read { path: folder.to_owned(), source };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let Some(layer) = layer(&path)? else { continue };
        if let Some(other) = files.insert(layer, path.clone()) {
            let [first, second] = if other < path { [other, path] } else { [path, other] };
            return Err(StatisticsError::DuplicateLayer { layer, first, second });
        }
    }
    let folder = folder.to_owned();
    let Some((&highest, _)) = files.last_key_value() else {
        return Err(StatisticsError::NoFiles { folder });
    };
    match (0..highest).find(|layer| !files.contains_key(layer)) {
        Some(layer) => Err(StatisticsError::MissingLayer { folder, layer, highest }),
        None => Ok(files.into_values().collect()),
    }
}

/// The number in a file's name; `None` for files that are no statistics.
fn layer(path: &Path) -> Result<Option<usize>, StatisticsError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(number) = name.strip_prefix("activation_").and_then(|rest| rest.strip_suffix(".pt"))
    else {
        return Ok(None);
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let layer = number.parse().ok().filter(|_| digits); // no sign
    layer.map(Some).ok_or_else(|| StatisticsError::FileName { path: path.to_owned() })
}

fn vector(path: &Path) -> Result<Vec<f64>, StatisticsError> {
    let file = File::open(path)
        .map_err(|source| StatisticsError::Read { path: path.to_owned(), source })?;
    let numbers = read_torch_vector(BufReader::new(file))
        .map_err(|source| StatisticsError::Torch { path: path.to_owned(), source })?;
    let is_count = |number: f64| number.is_finite() && number >= 0.0;
    match numbers.iter().position(|&number| !is_count(number)) {
        Some(neuron) => {
            Err(StatisticsError::Value { path: path.to_owned(), neuron, found: numbers[neuron] })
        }
        None => Ok(numbers),
    }
}
