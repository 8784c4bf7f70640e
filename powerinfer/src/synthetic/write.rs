//! Generates the tensors of a file on all cores and puts them where the layout says.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::design::{Design, LayerDesign};
use super::encode::Encoder;
use super::error::SyntheticError;
use super::gguf::{Layout, TensorSlot};
use super::plan::TensorPlan;
use super::random::BLOCK;
use super::rows::RowSource;

/// A thread hands over about this many bytes at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// What stopped the generation: the sink, or a row.
enum Failure {
    Sink(io::Error),
    Row(SyntheticError),
}

/// Everything that the threads share.
struct Job<'a, W> {
    layout: &'a Layout,
    design: &'a Design,
    sink: Mutex<W>,
    n_threads: usize,
}

/// Writes the file beside its place and renames it when it is whole.
pub(super) fn to_file(
    path: &Path,
    layout: &Layout,
    plans: &[TensorPlan],
    design: &Design,
) -> Result<(), SyntheticError> {
    let io_error = |source| SyntheticError::Io { path: path.to_owned(), source };
    let partial = PartialFile::create(path).map_err(io_error)?;
    let file = &partial.file;
    file.set_len(layout.file_bytes).map_err(io_error)?;
    let written = generate(file, layout, plans, design);
    written.map_err(|failure| match failure {
        Failure::Sink(source) => io_error(source),
        Failure::Row(error) => error,
    })?;
    partial.rename_to(path).map_err(io_error)
}

/// The file as bytes.
pub(super) fn to_bytes(
    layout: &Layout,
    plans: &[TensorPlan],
    design: &Design,
) -> Result<Vec<u8>, SyntheticError> {
    let too_large = || SyntheticError::TooLargeForMemory { bytes: layout.file_bytes };
    let n = usize::try_from(layout.file_bytes).map_err(|_| too_large())?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(n).map_err(|_| too_large())?;
    bytes.resize(n, 0);
    match generate(Cursor::new(&mut bytes[..]), layout, plans, design) {
        Ok(()) => Ok(bytes),
        Err(Failure::Row(error)) => Err(error),
        Err(Failure::Sink(_)) => Err(too_large()),
    }
}

/// Writes header and tensors to a sink that already has its full length of zeros.
fn generate<W: Write + Seek + Send>(
    mut sink: W,
    layout: &Layout,
    plans: &[TensorPlan],
    design: &Design,
) -> Result<(), Failure> {
    sink.write_all(&layout.header).map_err(Failure::Sink)?;
    let n_threads = thread::available_parallelism().map_or(1, usize::from);
    let job = Job { layout, design, sink: Mutex::new(sink), n_threads };
    let mut layer: Option<(usize, LayerDesign)> = None;
    for (slot, plan) in layout.tensors.iter().zip(plans) {
        if let Some(index) = plan.layer
            && layer.as_ref().is_none_or(|(current, _)| *current != index)
        {
            layer = Some((index, LayerDesign::new(design, index)));
        }
        let of_tensor = layer.as_ref().filter(|_| plan.layer.is_some());
        job.tensor(slot, plan, of_tensor.map(|(index, layer)| (*index, layer)))?;
    }
    Ok(())
}

impl<W: Write + Seek + Send> Job<'_, W> {
    /// Writes one tensor; threads take chunks of rows until none is left.
    fn tensor(
        &self,
        slot: &TensorSlot,
        plan: &TensorPlan,
        layer: Option<(usize, &LayerDesign)>,
    ) -> Result<(), Failure> {
        let n_rows: u64 = slot.ne[1..].iter().product();
        let row_bytes = slot.n_bytes / n_rows;
        // Whole groups of 32 rows, which transposed matrices make together.
        let chunk = (CHUNK_BYTES / row_bytes).max(1).next_multiple_of(BLOCK as u64);
        let n_threads =
            self.n_threads.min(usize::try_from(n_rows.div_ceil(chunk)).unwrap_or(usize::MAX));
        let next = AtomicU64::new(0);
        let work = || -> Result<(), Failure> {
            let n = usize::try_from(slot.ne[0]).expect("a validated row length");
            let mut rows = RowSource::new(plan.fill, n, self.design, layer);
            let mut encoder = Encoder::new(&slot.name, plan.kind);
            let mut bytes = Vec::new();
            loop {
                let first = next.fetch_add(chunk, Ordering::Relaxed);
                if first >= n_rows {
                    return Ok(());
                }
                bytes.clear();
                for i in first..n_rows.min(first + chunk) {
                    let i = usize::try_from(i).expect("a validated row count");
                    encoder.push(rows.row(i), &mut bytes).map_err(Failure::Row)?;
                }
                self.put(slot.offset + first * row_bytes, &bytes).map_err(Failure::Sink)?;
            }
        };
        thread::scope(|scope| {
            let helpers: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            helpers.into_iter().fold(own, |result, helper| {
                result.and(helper.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            })
        })
    }

    /// Writes bytes at an offset of the data section.
    fn put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // A poisoned lock belongs to a thread whose panic is about to be resumed.
        let mut sink = self.sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sink.seek(SeekFrom::Start(self.layout.data_offset + offset))?;
        sink.write_all(bytes)
    }
}

/// A file under a temporary name in the target's folder, removed unless it is renamed.
struct PartialFile {
    path: PathBuf,
    file: File,
    is_renamed: bool,
}

impl PartialFile {
    fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name")
        })?;
        let mut partial = std::ffi::OsString::from(".");
        partial.push(name);
        partial.push(format!(".{}.partial", std::process::id()));
        let path = target.with_file_name(partial);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { path, file, is_renamed: false })
    }

    fn rename_to(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.is_renamed = true;
        Ok(())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.is_renamed {
            // Nothing more can be done if even this fails; the error that led here is reported.
            drop(fs::remove_file(&self.path));
        }
    }
}
