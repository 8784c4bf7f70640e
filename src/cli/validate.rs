//! `powerinfer validate`: a policy, its model file, and whether both fit this machine.

use std::path::PathBuf;

use anyhow::Context as _;
use powerinfer::{
    CacheMode, ChecksumOutcome, GgufFile, GpuOptions, GpuState, HostInfo, Model, ModelFacts,
    ModelOptions, Policy, PolicyNote, Repack, Session,
};
use serde::Serialize;

use super::exit::{self, Exit};
use super::model_file::policy_file;
use super::output::Out;

/// Arguments of `powerinfer validate`.
#[derive(Debug, clap::Args)]
#[command(after_help = exit::help())]
pub(super) struct Args {
    /// The policy, a YAML file, or the name of a pulled model.
    #[arg(short, long, value_name = "POLICY")]
    config: PathBuf,
    /// Reads the whole model file for its checksum, even if that was done before [default: off].
    #[arg(long)]
    verify: bool,
    /// Compares model, policy and engine with this lock file, which `powerinfer lock` wrote
    /// [default: the policy's `audit.lock`, if it has one].
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Prints one JSON object [default: off].
    #[arg(long)]
    json: bool,
}

/// What came out.
#[derive(Debug, Default, Serialize)]
struct Report {
    ok: bool,
    exit_code: u8,
    policy: PathBuf,
    policy_hash: Option<String>,
    checks: Vec<Check>,
    /// What works, but perhaps not as meant.
    warnings: Vec<String>,
    error: serde_json::Value,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    /// `passed`, `unset` or `failed`.
    status: &'static str,
    detail: String,
}

/// Checks everything up to the first failure.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut report = Report { policy: args.config.clone(), ..Report::default() };
    let result = report.check_all(args);
    let exit = result.as_ref().err().map_or(Exit::Success, Exit::of);
    report.ok = exit == Exit::Success;
    report.exit_code = exit.code();
    if let Err(error) = &result {
        report.error = exit::to_json(error);
    }
    let mut out = Out::lock();
    if args.json {
        out.json(&report)?;
    } else {
        out.text(&report.to_text())?;
        if let Err(error) = &result {
            exit::report(error);
        }
    }
    Ok(exit)
}

impl Report {
    fn check_all(&mut self, args: &Args) -> anyhow::Result<()> {
        let policy = self.check("policy", || {
            let path = policy_file(&args.config)?;
            let policy = Policy::from_file(&path);
            let policy = policy.with_context(|| format!("policy {}", path.display()))?;
            let hash = policy.hash();
            Ok((policy, hash))
        })?;
        self.policy_hash = Some(policy.hash());
        let notes = self.check("machine", || {
            let host = HostInfo::detect();
            let notes = policy.check_host(&host)?;
            let (cpus, memory) = (host.cpus, host.memory_bytes);
            Ok((notes, format!("{cpus} processors, {memory} bytes of memory")))
        })?;
        self.warn(&notes);
        let cache = if args.verify { CacheMode::Force } else { CacheMode::Use };
        if let Some(lock) = args.expect.clone().or_else(|| policy.resolved_lock_path()) {
            self.check_lock(&policy, &lock, cache)?;
        }
        self.check_model(&policy, cache)
    }

    fn check_lock(
        &mut self,
        policy: &Policy,
        lock: &std::path::Path,
        cache: CacheMode,
    ) -> anyhow::Result<()> {
        let drift = self.check("lock", || {
            let drift = policy.check_lock(lock, cache)?;
            let word = if drift.is_empty() { "as in" } else { "differs from" };
            Ok((drift, format!("{word} {}", lock.display())))
        })?;
        self.warnings.extend(drift.iter().map(ToString::to_string));
        Ok(())
    }

    fn check_model(&mut self, policy: &Policy, cache: CacheMode) -> anyhow::Result<()> {
        self.check("model file", || {
            let path = policy.resolved_model_path()?;
            let found = std::fs::metadata(&path)
                .and_then(|_| std::fs::File::open(&path)?.metadata())
                .with_context(|| format!("cannot open {}", path.display()));
            let found = found.map_err(|error| exit::coded(Exit::ModelMissing, error))?;
            if !found.is_file() {
                let error = anyhow::anyhow!("{}: wanted a file", path.display());
                return Err(exit::coded(Exit::ModelMissing, error));
            }
            Ok(((), format!("{}, {} bytes", path.display(), found.len())))
        })?;
        self.check_checksum(policy, cache)?;
        let file = self.check("container", || {
            let file = GgufFile::open(policy.resolved_model_path()?)?;
            let info = file.info();
            let kind = if info.is_sparse { "PWRI" } else { "GGUF" };
            Ok((file, format!("{kind} version {}, {} tensors", info.version, info.n_tensors)))
        })?;
        let gpu = GpuOptions::default().with_policy(policy, &file)?;
        let plan = self.check("GPU", || {
            let state = gpu.preview(&file, policy.runtime.sparsity.strategy)?;
            let detail = state.to_string();
            Ok((state, detail))
        })?;
        if let GpuState::NotUsed { reason } = plan {
            self.warnings.push(format!("GPU not used: {reason}; the processor does all"));
        }
        let model = self.check("model", || {
            let model = Model::from_file(file, &ModelOptions::default().repack(Repack::Never))?;
            model.tokenizer()?;
            let detail = format!("{}, {}", model.info().name, model.info().architecture);
            Ok((model, detail))
        })?;
        let notes = self.check("fit", || {
            let notes = policy.check_model(&ModelFacts::of(&model)?)?;
            let session = Session::with_policy(&model, policy)?;
            Ok((notes, format!("room for {} tokens", session.capacity())))
        })?;
        self.warn(&notes);
        Ok(())
    }

    fn check_checksum(&mut self, policy: &Policy, cache: CacheMode) -> anyhow::Result<()> {
        let outcome = self.check("checksum", || {
            let outcome = policy.verify_checksum(cache, &mut |_, _| {})?;
            let detail = match outcome {
                ChecksumOutcome::Verified { cached: true } => "as in the policy, seen before",
                ChecksumOutcome::Verified { cached: false } => "as in the policy",
                ChecksumOutcome::Unset => "the policy has none: not compared",
            };
            Ok((outcome, detail.to_owned()))
        })?;
        if let (ChecksumOutcome::Unset, Some(check)) = (outcome, self.checks.last_mut()) {
            check.status = "unset";
        }
        Ok(())
    }

    /// Does one check and remembers what it said.
    fn check<T>(
        &mut self,
        name: &'static str,
        check: impl FnOnce() -> anyhow::Result<(T, String)>,
    ) -> anyhow::Result<T> {
        let result = check();
        let (status, detail) = match &result {
            Ok((_, detail)) => ("passed", detail.clone()),
            Err(error) => ("failed", format!("{error:#}")),
        };
        self.checks.push(Check { name, status, detail });
        result.map(|(value, _)| value)
    }

    fn warn(&mut self, notes: &[PolicyNote]) {
        self.warnings.extend(notes.iter().map(ToString::to_string));
    }

    fn to_text(&self) -> String {
        let checks = self.checks.iter().map(|Check { name, status, detail }| {
            // The reason of a failure goes to stderr with all its causes.
            let detail = if *status == "failed" { "" } else { detail };
            format!("{status:<7} {name:<11} {detail}").trim_end().to_owned()
        });
        let warnings = self.warnings.iter().map(|warning| format!("warning: {warning}"));
        let mut lines: Vec<String> = checks.chain(warnings).collect();
        lines.push(String::new());
        lines.join("\n")
    }
}
