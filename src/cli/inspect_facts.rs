//! Facts about a model file that follow from its tensors and metadata.

use std::collections::BTreeMap;

use powerinfer::{
    GgufFile, MetadataEntry, MetadataType, MetadataValue, Model, ModelInfo, ModelOptions, Repack,
    TensorInfo,
};
use serde::Serialize;
use serde_json::{Value, json};

/// Elements of an array that are shown.
const SHOWN: u64 = 4;

/// The active share that the estimates of bytes per token assume.
const ASSUMED_SHARE: f64 = 0.1;

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Class {
    Embedding,
    Attention,
    FeedForward,
    Predictor,
    Output,
    Other,
}

/// How many tensors of a kind there are, and how large they are together.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Tally {
    pub(super) tensors: u64,
    pub(super) bytes: u64,
}

/// Everything that `inspect` tells beside metadata and single tensors.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    pub(super) types: BTreeMap<&'static str, Tally>,
    pub(super) classes: BTreeMap<Class, Tally>,
    /// The model as it would run; none if it would not.
    pub(super) model: Option<ModelInfo>,
    /// Why it would not run.
    pub(super) problem: Option<String>,
    pub(super) sparsity: Sparsity,
}

/// What can be left unread.
#[derive(Debug, Serialize)]
pub(super) struct Sparsity {
    pub(super) predictor_layers: usize,
    /// Smallest and largest number of hidden units of a predictor.
    pub(super) predictor_ranks: Option<(u64, u64)>,
    pub(super) threshold: Option<f32>,
    /// Share of the tensor bytes that gate, up and down have.
    pub(super) feed_forward_share: f64,
    /// Expected bytes of weights that a token needs, without the attention cache.
    pub(super) bytes_per_token: BytesPerToken,
}

/// Bytes of weights for one token, by strategy.
#[derive(Debug, Serialize)]
pub(super) struct BytesPerToken {
    pub(super) assumed_active_share: f64,
    pub(super) dense: f64,
    /// None for a model whose activations are not exactly zero.
    pub(super) exact: Option<f64>,
    pub(super) predictor: Option<f64>,
}

impl Class {
    pub(super) fn of(tensor: &str) -> Self {
        let part = tensor.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        let Some((_, part)) = part else {
            return match tensor {
                "output.weight" => Self::Output,
                _ if tensor.starts_with("token_embd") || tensor.starts_with("position_embd") => {
                    Self::Embedding
                }
                _ => Self::Other,
            };
        };
        let is_one_of = |names: &[&str]| {
            names
                .iter()
                .any(|name| part.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
        };
        if is_one_of(&["fc1", "fc2"]) {
            Self::Predictor
        } else if is_one_of(&["ffn_gate", "ffn_up", "ffn_down", "ffn_down_t"]) {
            Self::FeedForward
        } else if is_one_of(&["attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output"]) {
            Self::Attention
        } else {
            Self::Other
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention",
            Self::FeedForward => "feed-forward",
            Self::Predictor => "predictor",
            Self::Output => "output",
            Self::Other => "other",
        }
    }
}

impl Facts {
    pub(super) fn new(file: &GgufFile, tensors: &[TensorInfo]) -> Self {
        let mut types: BTreeMap<&'static str, Tally> = BTreeMap::new();
        let mut classes: BTreeMap<Class, Tally> = BTreeMap::new();
        for tensor in tensors {
            types.entry(tensor.dtype.name()).or_default().count(tensor.bytes);
            classes.entry(Class::of(&tensor.name)).or_default().count(tensor.bytes);
        }
        let loaded = Model::from_file(file.clone(), &ModelOptions::default().repack(Repack::Never));
        let (model, problem) = match loaded {
            Ok(model) => (Some(model.info().clone()), None),
            Err(error) => (None, Some(format!("{:#}", anyhow::Error::from(error)))),
        };
        let sparsity = Sparsity::new(tensors, model.as_ref());
        Self { types, classes, model, problem, sparsity }
    }
}

impl Tally {
    fn count(&mut self, bytes: u64) {
        self.tensors += 1;
        self.bytes += bytes;
    }
}

impl Sparsity {
    fn new(tensors: &[TensorInfo], model: Option<&ModelInfo>) -> Self {
        let threshold = model.filter(|model| model.has_predictor);
        let has_zeros = model.is_some_and(|model| model.activation != "silu");
        let ranks = tensors.iter().filter(|tensor| tensor.name.ends_with(".fc1.weight"));
        let ranks: Vec<u64> = ranks.filter_map(|tensor| tensor.shape.get(1).copied()).collect();
        let all = total(tensors, |_| true);
        let feed_forward = total(tensors, |tensor| Class::of(&tensor.name) == Class::FeedForward);
        Self {
            predictor_layers: ranks.len(),
            predictor_ranks: ranks.iter().min().copied().zip(ranks.iter().max().copied()),
            threshold: threshold.map(|model| model.sparse_threshold),
            feed_forward_share: if all > 0.0 { feed_forward / all } else { 0.0 },
            bytes_per_token: BytesPerToken::new(tensors, has_zeros),
        }
    }
}

impl BytesPerToken {
    fn new(tensors: &[TensorInfo], has_zeros: bool) -> Self {
        let of_class = |class| total(tensors, |tensor| Class::of(&tensor.name) == class);
        let feed_forward = of_class(Class::FeedForward);
        let predictor = of_class(Class::Predictor);
        let has_output = of_class(Class::Output) > 0.0;
        // A token reads its own row of an embedding; without an output matrix, that of the tokens
        // is one, and all of it is read.
        let tied = if has_output {
            0.0
        } else {
            total(tensors, |tensor| tensor.name.starts_with("token_embd"))
        };
        let rows: f64 = tensors
            .iter()
            .filter(|tensor| Class::of(&tensor.name) == Class::Embedding)
            .map(row_bytes)
            .sum();
        let fixed = of_class(Class::Attention)
            + of_class(Class::Output)
            + of_class(Class::Other)
            + tied
            + rows;
        // What is computed of every neuron to know whether it fires.
        let is_gated = tensors.iter().any(|tensor| tensor.name.contains(".ffn_gate."));
        let tested = if is_gated { ".ffn_gate." } else { ".ffn_up." };
        let tested = total(tensors, |tensor| tensor.name.contains(tested));
        let share = ASSUMED_SHARE;
        Self {
            assumed_active_share: share,
            dense: fixed + feed_forward,
            exact: has_zeros.then_some(fixed + tested + share * (feed_forward - tested)),
            predictor: (predictor > 0.0).then_some(fixed + predictor + share * feed_forward),
        }
    }
}

/// Bytes of the tensors that count.
#[expect(clippy::cast_precision_loss, reason = "sizes are shown with four digits")]
fn total(tensors: &[TensorInfo], is_counted: impl Fn(&TensorInfo) -> bool) -> f64 {
    tensors.iter().filter(|tensor| is_counted(tensor)).map(|tensor| tensor.bytes as f64).sum()
}

#[expect(clippy::cast_precision_loss, reason = "sizes are shown with four digits")]
fn row_bytes(tensor: &TensorInfo) -> f64 {
    let rows: u64 = tensor.shape.iter().skip(1).product();
    tensor.bytes as f64 / rows.max(1) as f64
}

/// A metadata value; of a long array, its beginning.
pub(super) fn metadata_value(entry: &MetadataEntry<'_>) -> anyhow::Result<Value> {
    if !entry.is_array() {
        return element(entry, 0);
    }
    let shown = entry.len().min(SHOWN);
    let elements = (0..shown).map(|j| element(entry, j));
    let elements: Vec<Value> = elements.collect::<anyhow::Result<_>>()?;
    Ok(json!({ "type": entry.kind().to_string(), "length": entry.len(), "first": elements }))
}

/// One element; single precision with no more digits than it has.
fn element(entry: &MetadataEntry<'_>, j: u64) -> anyhow::Result<Value> {
    let value = entry.element(j)?;
    if let (MetadataType::F32, MetadataValue::Float(x)) = (entry.kind(), &value) {
        #[expect(clippy::cast_possible_truncation, reason = "it was an f32 in the file")]
        let digits = (*x as f32).to_string();
        return Ok(digits.parse::<f64>().map_or(Value::Null, |x| json!(x)));
    }
    Ok(json!(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_classed_by_name() {
        for (name, class) in [
            ("token_embd.weight", Class::Embedding),
            ("position_embd.weight", Class::Embedding),
            ("output.weight", Class::Output),
            ("output_norm.weight", Class::Other),
            ("blk.0.attn_norm.weight", Class::Other),
            ("blk.12.attn_qkv.weight", Class::Attention),
            ("blk.12.attn_output.bias", Class::Attention),
            ("blk.3.ffn_down_t.weight", Class::FeedForward),
            ("blk.3.ffn_norm.weight", Class::Other),
            ("blk.3.fc1.weight", Class::Predictor),
        ] {
            assert_eq!(Class::of(name), class, "{name}");
        }
    }
}
