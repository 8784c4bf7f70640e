//! What became of the GPU of a load.

use std::fmt;

use serde::Serialize;

use crate::device::DeviceInfo;
use crate::ffi::{CoreError, CoreErrorKind};
use crate::placement::{GpuIndexState, Placement};

/// Whether a GPU has a part of a model, and why if not.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[non_exhaustive]
pub enum GpuState {
    /// None was asked for.
    #[default]
    Off,
    /// The processor does all, although a GPU was preferred.
    NotUsed {
        /// Why.
        reason: String,
    },
    /// It has a part of the model.
    Used(GpuUse),
}

/// What of a model a GPU has.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GpuUse {
    /// Name of the GPU.
    pub device: String,
    /// Where it is plugged in: `00000000:3b:00.0`.
    pub pci_bus_id: String,
    /// Bytes that were planned on it, its own needs included.
    pub planned_bytes: u64,
    /// Share of the neurons that are on it.
    pub neuron_share: f64,
    /// Share of the activations that these are expected to have.
    pub activation_share: f64,
    /// What became of the GPU index.
    pub gpu_index: GpuIndexState,
}

/// Why no GPU is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoGpu {
    /// There is none, or this build or the driver cannot use it.
    #[error(transparent)]
    Device(CoreError),
    /// Its memory, or the budget, is too small for one layer.
    #[error(
        "nothing of the model fits on {device}: the budget is {budget} bytes, {reserve} are for the \
         GPU's own needs, and one layer comes on top; give a larger budget, a smaller context or a \
         smaller batch"
    )]
    NothingFits {
        /// Name of the GPU.
        device: String,
        /// Bytes that it may hold.
        budget: u64,
        /// Of these: its own needs.
        reserve: u64,
    },
    /// No layer may go to it.
    #[error("the number of layers for it is 0")]
    NoLayers,
    /// It, or its memory, failed while the model was loaded, or it cannot run the strategy.
    #[error(transparent)]
    Load(CoreError),
}

impl NoGpu {
    /// The core's own classification, where the reason comes from there.
    pub(crate) fn core_kind(&self) -> Option<CoreErrorKind> {
        match self {
            Self::Device(error) | Self::Load(error) => Some(error.kind),
            Self::NothingFits { .. } | Self::NoLayers => None,
        }
    }
}

impl GpuState {
    pub(super) fn not_used(reason: &NoGpu) -> Self {
        Self::NotUsed { reason: reason.to_string() }
    }

    pub(super) fn used(device: DeviceInfo, placement: &Placement) -> Self {
        let info = placement.info();
        let neurons = u64::from(info.n_layers) * u64::from(info.hidden_dim);
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
        let neuron_share = info.n_neurons as f64 / neurons as f64;
        Self::Used(GpuUse {
            device: device.name,
            pci_bus_id: device.pci_bus_id,
            planned_bytes: info.device_bytes,
            neuron_share,
            activation_share: info.activation_share,
            gpu_index: info.gpu_index,
        })
    }
}

impl fmt::Display for GpuState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::NotUsed { reason } => write!(f, "not used: {reason}"),
            Self::Used(used) => {
                let mebibytes = used.planned_bytes >> 20;
                let neurons = 100.0 * used.neuron_share;
                write!(f, "{}, {mebibytes} MiB planned, {neurons:.1} % of neurons", used.device)
            }
        }
    }
}
