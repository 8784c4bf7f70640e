//! What the driver's monitor, NVML, says of the GPU that has a part of a model.

use std::fmt;

use serde::Serialize;

use crate::gpu::GpuState;

/// What was learned of a GPU that this library cannot measure itself. That nothing was is no error.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[non_exhaustive]
pub enum GpuMonitor {
    /// Nobody was asked: no GPU is used, this build is without the feature `nvml`, or a scheduler ran
    /// the request.
    #[default]
    Off,
    /// Nobody could be asked.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The figures of a moment.
    Read(GpuReading),
}

/// Figures of a GPU; absent are those that it does not have, or that its driver keeps to itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct GpuReading {
    /// Version of the driver.
    pub driver_version: Option<String>,
    /// Bytes of its memory in use, by all programs and the driver.
    pub memory_bytes: Option<u64>,
    /// Of these: by this process. In a container the driver may not know it by its number.
    pub process_memory_bytes: Option<u64>,
    /// Of the time shortly before, the share in which it computed anything.
    pub utilization: Option<f64>,
    /// Power that it draws, in watts.
    pub power_watts: Option<f64>,
    /// Its temperature in degrees Celsius.
    pub temperature_celsius: Option<u32>,
}

impl GpuMonitor {
    /// Asks about the GPU that has a part of a model.
    pub fn read(gpu: &GpuState) -> Self {
        #[cfg(feature = "nvml")]
        if let GpuState::Used(gpu) = gpu {
            return nvml::read(&gpu.pci_bus_id)
                .map_or_else(|reason| Self::Unavailable { reason }, Self::Read);
        }
        let _ = gpu;
        Self::Off
    }
}

impl fmt::Display for GpuMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Unavailable { reason } => write!(f, "unavailable: {reason}"),
            Self::Read(reading) => reading.fmt(f),
        }
    }
}

impl fmt::Display for GpuReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = [
            self.memory_bytes.map(|bytes| format!("{} MiB in use", bytes >> 20)),
            self.process_memory_bytes.map(|bytes| format!("{} MiB by this process", bytes >> 20)),
            self.utilization.map(|share| format!("{:.0} % busy", 100.0 * share)),
            self.power_watts.map(|watts| format!("{watts:.0} W")),
            self.temperature_celsius.map(|degrees| format!("{degrees} °C")),
            self.driver_version.as_ref().map(|version| format!("driver {version}")),
        ];
        let figures: Vec<String> = figures.into_iter().flatten().collect();
        f.write_str(&figures.join(", "))
    }
}

/// The library of the driver, opened when it is first needed.
#[cfg(feature = "nvml")]
mod nvml {
    use std::sync::OnceLock;

    use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
    use nvml_wrapper::enums::device::UsedGpuMemory;
    use nvml_wrapper::{Device, Nvml};

    use super::GpuReading;

    static LIBRARY: OnceLock<Result<Nvml, String>> = OnceLock::new();

    /// The figures of the GPU that is plugged in there, or why there are none.
    pub(super) fn read(pci_bus_id: &str) -> Result<GpuReading, String> {
        let library =
            LIBRARY.get_or_init(|| Nvml::init().map_err(|error| crate::report::chain(&error)));
        let nvml = library.as_ref().map_err(|reason| format!("NVML: {reason}"))?;
        let device = nvml
            .device_by_pci_bus_id(pci_bus_id)
            .map_err(|error| format!("NVML: no GPU at {pci_bus_id}: {error}"))?;
        Ok(GpuReading {
            driver_version: nvml.sys_driver_version().ok(),
            memory_bytes: device.memory_info().ok().map(|memory| memory.used),
            process_memory_bytes: process_memory(&device),
            utilization: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0),
            power_watts: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
            temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok(),
        })
    }

    fn process_memory(device: &Device<'_>) -> Option<u64> {
        let processes = device.running_compute_processes().ok()?;
        let ours = processes.into_iter().find(|process| process.pid == std::process::id())?;
        match ours.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_without_a_gpu() {
        assert_eq!(GpuMonitor::read(&GpuState::Off), GpuMonitor::Off);
        let json = serde_json::to_value(GpuMonitor::Off).unwrap();
        assert_eq!(json, serde_json::json!({"state": "off"}));
    }

    #[test]
    fn a_reading_names_what_there_is() {
        assert_eq!(GpuReading::default().to_string(), "");
        let reading = GpuReading {
            driver_version: Some("570.86".to_owned()),
            memory_bytes: Some(3 << 30),
            utilization: Some(0.976),
            power_watts: Some(311.6),
            ..GpuReading::default()
        };
        let read = GpuMonitor::Read(reading);
        assert_eq!(read.to_string(), "3072 MiB in use, 98 % busy, 312 W, driver 570.86");
        let json = serde_json::to_value(&read).unwrap();
        assert_eq!(
            (&json["state"], &json["memory_bytes"]),
            (&"read".into(), &(3_u64 << 30).into())
        );
        assert_eq!(json["temperature_celsius"], serde_json::Value::Null);
    }

    /// On a machine without the driver for want of its library, elsewhere for want of the GPU.
    #[cfg(feature = "nvml")]
    #[test]
    fn a_gpu_that_is_not_there_is_a_reason_and_no_error() {
        let reason = nvml::read("0000ffff:ff:1f.0").unwrap_err();
        assert!(reason.starts_with("NVML: "), "{reason}");
        assert!(reason.contains("nvidia-ml") || reason.contains("0000ffff:ff:1f.0"), "{reason}");
    }
}
