//! `powerinfer logits`: what a model expects after each of the given tokens, as a file of `NumPy`.

use std::path::PathBuf;

use powerinfer::{Batch, KvType, Output, Session, SessionOptions, Token};

use super::exit::{self, Exit};
use super::model_args::ModelArgs;
use super::npy;
use super::output::{note, write_file};
use super::session_args::{MachineArgs, kv_type};
use super::tokenize::parse_ids;

/// Arguments of `powerinfer logits`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Token ids, separated by commas.
    #[arg(long, value_name = "IDS", help_heading = "Tokens")]
    tokens: String,
    /// Computes all tokens together instead of one after the other [default: off].
    #[arg(long, help_heading = "Tokens")]
    batch: bool,
    #[command(flatten)]
    machine: MachineArgs,
    /// Element type of the attention cache: f16 or f32 [default: f32, which is exact].
    #[arg(long, value_name = "TYPE", value_parser = kv_type(), help_heading = "Machine")]
    kv_type: Option<KvType>,
    /// The file to write: f32, one row for each token, one column for each entry of the vocabulary.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: PathBuf,
}

/// Computes and writes the logits.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let tokens = parse_ids(&args.tokens)?;
    if tokens.is_empty() {
        return Err(exit::usage("--tokens: wanted at least one token id, found none"));
    }
    let n = u32::try_from(tokens.len())?;
    let options = SessionOptions::default()
        .context(n)
        .batch(n)
        .threads(args.machine.threads.unwrap_or(0))
        .activation_bits(args.machine.activation_bits.unwrap_or(16))
        .kv_type(args.kv_type.unwrap_or(KvType::F32));
    let mut session = args.model.load(&options)?.session(options)?;
    let rows = if args.batch {
        together(&mut session, &tokens)?
    } else {
        one_by_one(&mut session, &tokens)?
    };
    let columns = rows.first().map_or(0, Vec::len);
    write_file(&args.out, |writer| {
        std::io::Write::write_all(writer, &npy::header(rows.len(), columns))?;
        rows.iter().try_for_each(|row| npy::write_row(writer, row))
    })?;
    note(&format!("wrote {} x {columns} logits to {}", rows.len(), args.out.display()));
    Ok(Exit::Success)
}

fn together(session: &mut Session, tokens: &[Token]) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut batch = Batch::new();
    batch.extend(tokens, 0, 0, Output::LOGITS);
    batch.set_outputs(Output::LOGITS);
    session.decode(&batch)?;
    let rows = (0..).zip(tokens).map(|(i, _)| Ok(session.logits(i)?.to_vec()));
    rows.collect()
}

fn one_by_one(session: &mut Session, tokens: &[Token]) -> anyhow::Result<Vec<Vec<f32>>> {
    let rows = (0..).zip(tokens).map(|(position, &token)| {
        let mut batch = Batch::new();
        batch.push(token, position, 0, Output::LOGITS);
        session.decode(&batch)?;
        Ok(session.logits(0)?.to_vec())
    });
    rows.collect()
}
