//! A plain float64 forward pass that records which neurons fire and which are predicted to.

use super::reader::{Matrix, Weights, dot};

const EPSILON: f64 = 1e-5;

/// What one layer did for one token.
#[derive(Debug)]
pub(super) struct LayerRecord {
    pub(super) fired: Vec<bool>,
    /// Empty when the file has no predictor.
    pub(super) predicted: Vec<bool>,
}

/// Logits of every token, and records as `[token][layer]`.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) logits: Vec<Vec<f64>>,
    pub(super) records: Vec<Vec<LayerRecord>>,
}

/// The facts of a file that the pass needs.
struct Network<'a> {
    model: &'a Weights,
    architecture: String,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

/// Keys and values of the tokens so far, per layer.
type Cache = Vec<(Vec<Vec<f64>>, Vec<Vec<f64>>)>;

/// Feeds one sequence. Every neuron that fires takes part, predicted or not.
pub(super) fn run(model: &Weights, architecture: &str, tokens: &[usize]) -> Run {
    let integer = |key: &str| model.integer(&format!("{architecture}.{key}"));
    let n_heads = integer("attention.head_count");
    let network = Network {
        model,
        architecture: architecture.to_owned(),
        n_heads,
        n_kv_heads: integer("attention.head_count_kv"),
        head_dim: integer("embedding_length") / n_heads,
    };
    let mut cache: Cache = vec![(Vec::new(), Vec::new()); integer("block_count")];
    let steps = tokens.iter().enumerate().map(|(p, &token)| network.token(token, p, &mut cache));
    let (logits, records) = steps.unzip();
    Run { logits, records }
}

impl Network<'_> {
    fn token(&self, token: usize, p: usize, cache: &mut Cache) -> (Vec<f64>, Vec<LayerRecord>) {
        let mut x = self.model.tensor("token_embd.weight").row(token).to_vec();
        if self.architecture == "opt" {
            add(&mut x, self.model.tensor("position_embd.weight").row(p + 2));
        }
        let mut records = Vec::new();
        for (layer, cache) in cache.iter_mut().enumerate() {
            let input = x.clone();
            add(&mut x, &self.attention(layer, p, &input, cache));
            let is_parallel = self.architecture == "falcon";
            let (u, norm) = if is_parallel { (&input, "attn_norm") } else { (&x, "ffn_norm") };
            let (out, record) = self.feed_forward(layer, u, norm);
            add(&mut x, &out);
            records.push(record);
        }
        let x = self.norm("output_norm", &x);
        let head = self.model.tensors.get("output.weight");
        let head = head.unwrap_or_else(|| self.model.tensor("token_embd.weight"));
        (head.times(&x), records)
    }

    fn weight(&self, layer: usize, name: &str) -> &Matrix {
        self.model.tensor(&format!("blk.{layer}.{name}.weight"))
    }

    fn has(&self, layer: usize, name: &str) -> bool {
        self.model.tensors.contains_key(&format!("blk.{layer}.{name}.weight"))
    }

    fn linear(&self, layer: usize, name: &str, x: &[f64]) -> Vec<f64> {
        let mut out = self.weight(layer, name).times(x);
        if let Some(bias) = self.model.tensors.get(&format!("blk.{layer}.{name}.bias")) {
            add(&mut out, &bias.values);
        }
        out
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let weight = self.model.tensor(&format!("{name}.weight"));
        let n = f64::from(u32::try_from(x.len()).unwrap());
        let bias = self.model.tensors.get(&format!("{name}.bias"));
        let mean = if bias.is_some() { x.iter().sum::<f64>() / n } else { 0.0 };
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        let scale = 1.0 / (variance + EPSILON).sqrt();
        let mut out: Vec<f64> =
            x.iter().zip(&weight.values).map(|(x, w)| w * (x - mean) * scale).collect();
        if let Some(bias) = bias {
            add(&mut out, &bias.values);
        }
        out
    }

    fn attention(
        &self,
        layer: usize,
        position: usize,
        x: &[f64],
        (keys, values): &mut (Vec<Vec<f64>>, Vec<Vec<f64>>),
    ) -> Vec<f64> {
        let normed = self.norm(&format!("blk.{layer}.attn_norm"), x);
        let kv_dim = self.n_kv_heads * self.head_dim;
        let (mut q, mut k, v) = if self.has(layer, "attn_qkv") {
            let qkv = self.linear(layer, "attn_qkv", &normed);
            let (q, kv) = qkv.split_at(qkv.len() - 2 * kv_dim);
            (q.to_vec(), kv[..kv_dim].to_vec(), kv[kv_dim..].to_vec())
        } else {
            let part = |name| self.linear(layer, name, &normed);
            (part("attn_q"), part("attn_k"), part("attn_v"))
        };
        if self.architecture != "opt" {
            self.rotate(&mut q, position);
            self.rotate(&mut k, position);
        }
        keys.push(k);
        values.push(v);
        let mut heads = Vec::new();
        for h in 0..self.n_heads {
            let kv = h / (self.n_heads / self.n_kv_heads) * self.head_dim;
            let query = &q[h * self.head_dim..][..self.head_dim];
            heads.extend(attend(query, keys, values, kv));
        }
        self.linear(layer, "attn_output", &heads)
    }

    fn rotate(&self, heads: &mut [f64], position: usize) {
        let n = self.head_dim;
        let is_neox = self.architecture == "falcon";
        let real = |n: usize| f64::from(u32::try_from(n).unwrap());
        for head in heads.chunks_exact_mut(n) {
            for i in 0..n / 2 {
                let angle = real(position) * 10_000_f64.powf(-2.0 * real(i) / real(n));
                let (first, second) = if is_neox { (i, i + n / 2) } else { (2 * i, 2 * i + 1) };
                let (re, im) = (head[first], head[second]);
                head[first] = re * angle.cos() - im * angle.sin();
                head[second] = re * angle.sin() + im * angle.cos();
            }
        }
    }

    fn feed_forward(&self, layer: usize, u: &[f64], norm: &str) -> (Vec<f64>, LayerRecord) {
        let f = self.norm(&format!("blk.{layer}.{norm}"), u);
        let up = self.linear(layer, "ffn_up", &f);
        let hidden: Vec<f64> = if self.has(layer, "ffn_gate") {
            let gate = self.linear(layer, "ffn_gate", &f);
            let is_rectified = self.architecture == "bamboo";
            let up = up.iter().map(|&up| if is_rectified { up.max(0.0) } else { up });
            gate.iter().zip(up).map(|(gate, up)| gate.max(0.0) * up).collect()
        } else {
            up.iter().map(|up| up.max(0.0)).collect()
        };
        let down = if self.has(layer, "ffn_down_t") {
            self.weight(layer, "ffn_down_t")
        } else {
            &self.weight(layer, "ffn_down").transposed()
        };
        let mut out = vec![0.0; u.len()];
        for (n, &t) in hidden.iter().enumerate().filter(|&(_, &t)| t != 0.0) {
            out.iter_mut().zip(down.row(n)).for_each(|(out, w)| *out += t * w);
        }
        let predicted = if self.has(layer, "fc1") {
            let mut units = self.weight(layer, "fc1").times(u);
            for unit in &mut units {
                *unit = unit.max(0.0);
            }
            self.weight(layer, "fc2").times(&units).iter().map(|&s| s >= 0.0).collect()
        } else {
            Vec::new()
        };
        (out, LayerRecord { fired: hidden.iter().map(|&t| t != 0.0).collect(), predicted })
    }
}

fn add(x: &mut [f64], y: &[f64]) {
    assert_eq!(x.len(), y.len(), "lengths of a sum");
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// One query over all keys; `kv` is where its head begins in a key and a value.
fn attend(query: &[f64], keys: &[Vec<f64>], values: &[Vec<f64>], kv: usize) -> Vec<f64> {
    let n = query.len();
    let scale = 1.0 / f64::from(u32::try_from(n).unwrap()).sqrt();
    let weights: Vec<f64> =
        keys.iter().map(|k| (scale * dot(query, &k[kv..][..n])).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; n];
    for (weight, value) in weights.iter().zip(values) {
        out.iter_mut().zip(&value[kv..]).for_each(|(out, v)| *out += weight / total * v);
    }
    out
}
