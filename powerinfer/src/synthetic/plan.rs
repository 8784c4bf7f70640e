//! Which tensors and metadata a synthetic file has, in file order, and what fills each tensor.

use super::design::{Design, OPT_POSITIONS, Role};
use super::error::SyntheticError;
use super::gguf::{Builder, Layout, Magic, Value};
use super::spec::{Architecture, Container, SyntheticSpec};
use super::vocabulary::{BOS_ID, EOS_ID, UNKNOWN_ID, Vocabulary};
use super::weight_type::WeightType;

/// Rows of an OPT position table before the row of position 0.
const OPT_POSITION_OFFSET: u32 = 2;
const NORM_EPSILON: f32 = 1e-5;

/// What the rows of a tensor hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fill {
    /// The same value everywhere: norm weights and biases.
    Constant(f64),
    /// A constant carrier, then random integers times a scale.
    Body { role: Role, carrier: f64, scale: f64 },
    /// Reads the heads, writes the residual: the rows of the carrier are zero.
    AttentionOutput { scale: f64 },
    /// The transpose of the matrix that `Body` would give for `Role::Down`.
    DownTransposed { scale: f64 },
    /// Decides whether a neuron fires.
    Test,
    /// First matrix of the predictor.
    PredictorIn,
    /// Second matrix of the predictor.
    PredictorOut,
}

/// One tensor of the file, in the order of [`Layout::tensors`].
#[derive(Debug)]
pub(super) struct TensorPlan {
    /// Layer that it belongs to, if any.
    pub(super) layer: Option<usize>,
    pub(super) kind: WeightType,
    pub(super) fill: Fill,
}

/// Lays out the file.
pub(super) fn plan(
    spec: &SyntheticSpec,
    design: &Design,
) -> Result<(Layout, Vec<TensorPlan>), SyntheticError> {
    let magic = match spec.container {
        Container::Sparse => Magic::Pwri,
        Container::Dense => Magic::Gguf,
    };
    let mut planner = Planner { spec, design, builder: Builder::new(magic), plans: Vec::new() };
    planner.metadata()?;
    planner.vocabulary()?;
    planner.embedding()?;
    for layer in 0..spec.shape.n_layers {
        planner.attention(layer)?;
        planner.feed_forward(layer)?;
        planner.predictor(layer)?;
    }
    planner.output()?;
    Ok((planner.builder.finish()?, planner.plans))
}

struct Planner<'a> {
    spec: &'a SyntheticSpec,
    design: &'a Design,
    builder: Builder,
    plans: Vec<TensorPlan>,
}

impl Planner<'_> {
    fn metadata(&mut self) -> Result<(), SyntheticError> {
        let spec = self.spec;
        let shape = spec.shape;
        let architecture = spec.architecture.name();
        let name = format!(
            "synthetic {architecture} {}x{}x{} {}",
            shape.n_layers, shape.dim, shape.hidden_dim, spec.dtype
        );
        self.builder.metadata("general.architecture", &Value::String(architecture))?;
        self.builder.metadata("general.name", &Value::String(&name))?;
        if let Some(id) = spec.dtype.file_type() {
            self.builder.metadata("general.file_type", &Value::U32(id))?;
        }
        self.builder.metadata("general.quantization_version", &Value::U32(2))?;
        let mut model =
            |key: &str, value| self.builder.metadata(&format!("{architecture}.{key}"), &value);
        model("context_length", Value::U32(shape.context_length))?;
        model("embedding_length", Value::U32(shape.dim))?;
        model("block_count", Value::U32(shape.n_layers))?;
        model("feed_forward_length", Value::U32(shape.hidden_dim))?;
        model("attention.head_count", Value::U32(shape.n_heads))?;
        model("attention.head_count_kv", Value::U32(shape.n_kv_heads))?;
        if spec.architecture.is_gated() {
            model("attention.layer_norm_rms_epsilon", Value::F32(NORM_EPSILON))?;
        } else {
            model("attention.layer_norm_epsilon", Value::F32(NORM_EPSILON))?;
        }
        if spec.architecture != Architecture::Opt {
            model("rope.dimension_count", Value::U32(shape.dim / shape.n_heads))?;
            model("rope.freq_base", Value::F32(10_000.0))?;
        }
        if spec.container == Container::Sparse {
            self.builder.metadata("powerinfer.sparse_threshold", &Value::F32(0.0))?;
        }
        Ok(())
    }

    fn vocabulary(&mut self) -> Result<(), SyntheticError> {
        let vocabulary = Vocabulary::new(self.spec.shape.vocab_size);
        let mut tokenizer =
            |key: &str, value| self.builder.metadata(&format!("tokenizer.ggml.{key}"), &value);
        tokenizer("model", Value::String("llama"))?;
        tokenizer("tokens", Value::Strings(&vocabulary.tokens))?;
        tokenizer("scores", Value::F32s(&vocabulary.scores))?;
        tokenizer("token_type", Value::I32s(&vocabulary.types))?;
        tokenizer("unknown_token_id", Value::U32(UNKNOWN_ID))?;
        tokenizer("bos_token_id", Value::U32(BOS_ID))?;
        tokenizer("eos_token_id", Value::U32(EOS_ID))?;
        Ok(())
    }

    fn embedding(&mut self) -> Result<(), SyntheticError> {
        let (carrier, scale) = (self.design.carrier, self.design.embedding);
        let fill = Fill::Body { role: Role::Embedding, carrier, scale };
        self.matrix(None, "token_embd", self.spec.shape.vocab_size, fill)?;
        if self.spec.architecture == Architecture::Opt {
            let scale = self.design.position;
            let fill = Fill::Body { role: Role::Position, carrier: 0.0, scale };
            self.matrix(None, "position_embd", OPT_POSITIONS + OPT_POSITION_OFFSET, fill)?;
        }
        Ok(())
    }

    fn attention(&mut self, layer: u32) -> Result<(), SyntheticError> {
        let shape = self.spec.shape;
        let kv_dim = shape.dim / shape.n_heads * shape.n_kv_heads;
        let scale = self.design.unit;
        let body = |role| Fill::Body { role, carrier: 0.0, scale };
        let out = Fill::AttentionOutput { scale: self.design.attention_output };
        self.norm(Some(layer), "attn_norm")?;
        if self.spec.architecture == Architecture::Falcon {
            self.matrix(Some(layer), "attn_qkv", shape.dim + 2 * kv_dim, body(Role::Qkv))?;
        } else {
            self.linear(layer, "attn_q", shape.dim, body(Role::Query))?;
            self.linear(layer, "attn_k", kv_dim, body(Role::Key))?;
            self.linear(layer, "attn_v", kv_dim, body(Role::Value))?;
        }
        self.linear(layer, "attn_output", shape.dim, out)
    }

    fn feed_forward(&mut self, layer: u32) -> Result<(), SyntheticError> {
        let hidden_dim = self.spec.shape.hidden_dim;
        if self.spec.architecture != Architecture::Falcon {
            self.norm(Some(layer), "ffn_norm")?;
        }
        if self.spec.architecture.is_gated() {
            let (carrier, scale) = (self.design.up_carrier, self.design.unit);
            self.matrix(Some(layer), "ffn_gate", hidden_dim, Fill::Test)?;
            let up = Fill::Body { role: Role::Up, carrier, scale };
            self.matrix(Some(layer), "ffn_up", hidden_dim, up)?;
        } else {
            self.linear(layer, "ffn_up", hidden_dim, Fill::Test)?;
        }
        self.down(layer)
    }

    fn down(&mut self, layer: u32) -> Result<(), SyntheticError> {
        let shape = self.spec.shape;
        let scale = self.design.down;
        let name = match self.spec.container {
            Container::Sparse => {
                let fill = Fill::Body { role: Role::Down, carrier: 0.0, scale };
                self.matrix(Some(layer), "ffn_down_t", shape.hidden_dim, fill)?;
                "ffn_down_t"
            }
            Container::Dense => {
                let ne = [u64::from(shape.hidden_dim), u64::from(shape.dim)];
                let fill = Fill::DownTransposed { scale };
                self.push(Some(layer), "ffn_down.weight", &ne, self.spec.dtype, fill)?;
                "ffn_down"
            }
        };
        self.bias(layer, name, shape.dim)
    }

    fn predictor(&mut self, layer: u32) -> Result<(), SyntheticError> {
        let (Container::Sparse, Some(rank)) = (self.spec.container, self.spec.predictor_rank)
        else {
            return Ok(());
        };
        let (dim, hidden_dim) = (self.spec.shape.dim.into(), self.spec.shape.hidden_dim.into());
        let (rank, dtype) = (rank.into(), self.spec.predictor_dtype());
        self.push(Some(layer), "fc1.weight", &[dim, rank], dtype, Fill::PredictorIn)?;
        self.push(Some(layer), "fc2.weight", &[rank, hidden_dim], dtype, Fill::PredictorOut)
    }

    fn output(&mut self) -> Result<(), SyntheticError> {
        self.norm(None, "output_norm")?;
        if self.spec.architecture == Architecture::Opt {
            return Ok(());
        }
        let ne = [u64::from(self.spec.shape.dim), u64::from(self.spec.shape.vocab_size)];
        let scale = self.design.output;
        let fill = Fill::Body { role: Role::Output, carrier: 0.0, scale };
        self.push(None, "output.weight", &ne, self.spec.resolved_output_dtype(), fill)
    }

    /// A norm's weight and, for layer norms, its bias.
    fn norm(&mut self, layer: Option<u32>, name: &str) -> Result<(), SyntheticError> {
        let ne = [u64::from(self.spec.shape.dim)];
        self.push(layer, &format!("{name}.weight"), &ne, WeightType::F32, Fill::Constant(1.0))?;
        if self.spec.architecture.is_gated() {
            return Ok(());
        }
        self.push(layer, &format!("{name}.bias"), &ne, WeightType::F32, Fill::Constant(0.0))
    }

    /// A matrix with the bias that OPT has beside it.
    fn linear(
        &mut self,
        layer: u32,
        name: &str,
        rows: u32,
        fill: Fill,
    ) -> Result<(), SyntheticError> {
        self.matrix(Some(layer), name, rows, fill)?;
        self.bias(layer, name, rows)
    }

    fn bias(&mut self, layer: u32, name: &str, n: u32) -> Result<(), SyntheticError> {
        if self.spec.architecture != Architecture::Opt {
            return Ok(());
        }
        let name = format!("{name}.bias");
        self.push(Some(layer), &name, &[n.into()], WeightType::F32, Fill::Constant(0.0))
    }

    /// A matrix with rows as wide as the residual stream.
    fn matrix(
        &mut self,
        layer: Option<u32>,
        name: &str,
        rows: u32,
        fill: Fill,
    ) -> Result<(), SyntheticError> {
        let ne = [u64::from(self.spec.shape.dim), u64::from(rows)];
        self.push(layer, &format!("{name}.weight"), &ne, self.spec.dtype, fill)
    }

    fn push(
        &mut self,
        layer: Option<u32>,
        name: &str,
        ne: &[u64],
        dtype: WeightType,
        fill: Fill,
    ) -> Result<(), SyntheticError> {
        let prefix = layer.map_or_else(String::new, |layer| format!("blk.{layer}."));
        self.builder.tensor(&format!("{prefix}{name}"), ne, dtype.dtype())?;
        self.plans.push(TensorPlan { layer: layer.map(|layer| layer as usize), kind: dtype, fill });
        Ok(())
    }
}
