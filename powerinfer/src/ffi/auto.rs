//! What the strategy `auto` measures, between the core and Rust.

use powerinfer_sys as sys;
use serde::{Deserialize, Serialize};

use super::error::check;
use super::{CoreError, ModelHandle, out_struct, struct_size};

/// Speed of the stages of a feed-forward in bytes a second; the fields of `pi_stage_rates`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageRates {
    pub(crate) predict: f64,
    pub(crate) test_all: f64,
    pub(crate) test_listed_low: f64,
    pub(crate) test_listed_high: f64,
    pub(crate) rest_all_low: f64,
    pub(crate) rest_all_high: f64,
    pub(crate) rest_listed_low: f64,
    pub(crate) rest_listed_high: f64,
}

/// Speed with a number of threads; the fields of `pi_rates`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rates {
    pub(crate) n_threads: u32,
    pub(crate) one: StageRates,
    pub(crate) many: StageRates,
}

/// How a layer is computed, and where its decisions begin; the fields of `pi_layer_plan`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LayerPlan {
    pub(crate) uses_predictor: bool,
    pub(crate) active_share: f64,
    pub(crate) candidate_share: f64,
}

/// What a context of the strategy `auto` decides by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tuning {
    pub(crate) rates: Rates,
    pub(crate) layers: Vec<LayerPlan>,
}

/// Threads that a context has by default.
pub(crate) fn default_threads() -> u32 {
    // SAFETY: takes nothing and returns a number.
    unsafe { sys::pi_default_threads() }
}

impl ModelHandle {
    /// A number for everything but the processor that decides what is measured.
    pub(crate) fn fingerprint(&self) -> u64 {
        // SAFETY: the model is alive.
        unsafe { sys::pi_model_fingerprint(self.as_ptr()) }
    }

    /// Times the stages of a feed-forward.
    pub(crate) fn measure_rates(&self, n_threads: u32) -> Result<Rates, CoreError> {
        let mut rates = out_struct::<sys::pi_rates>();
        // SAFETY: the model is alive; `rates` names its own size and outlives the call.
        check(unsafe { sys::pi_model_measure_rates(self.as_ptr(), n_threads, &raw mut rates) })?;
        Ok(rates.into())
    }

    /// Sees which neurons fire, and decides which layers use their predictor.
    pub(crate) fn plan_layers(&self, rates: &Rates) -> Result<Vec<LayerPlan>, CoreError> {
        let n_layers = usize::try_from(self.info().n_layers).expect("usize has 32 bits at least");
        let rates = sys::pi_rates::from(*rates);
        let mut plans = vec![out_struct::<sys::pi_layer_plan>(); n_layers];
        // SAFETY: the model is alive and has as many layers as `plans` has elements, each of which
        // names its own size; `rates` and `plans` outlive the call.
        check(unsafe {
            sys::pi_model_plan_layers(self.as_ptr(), &raw const rates, plans.as_mut_ptr())
        })?;
        Ok(plans.into_iter().map(LayerPlan::from).collect())
    }
}

impl From<sys::pi_stage_rates> for StageRates {
    fn from(raw: sys::pi_stage_rates) -> Self {
        Self {
            predict: raw.predict,
            test_all: raw.test_all,
            test_listed_low: raw.test_listed_low,
            test_listed_high: raw.test_listed_high,
            rest_all_low: raw.rest_all_low,
            rest_all_high: raw.rest_all_high,
            rest_listed_low: raw.rest_listed_low,
            rest_listed_high: raw.rest_listed_high,
        }
    }
}

impl From<StageRates> for sys::pi_stage_rates {
    fn from(rates: StageRates) -> Self {
        Self {
            predict: rates.predict,
            test_all: rates.test_all,
            test_listed_low: rates.test_listed_low,
            test_listed_high: rates.test_listed_high,
            rest_all_low: rates.rest_all_low,
            rest_all_high: rates.rest_all_high,
            rest_listed_low: rates.rest_listed_low,
            rest_listed_high: rates.rest_listed_high,
        }
    }
}

impl From<sys::pi_rates> for Rates {
    fn from(raw: sys::pi_rates) -> Self {
        Self { n_threads: raw.n_threads, one: raw.one.into(), many: raw.many.into() }
    }
}

impl From<Rates> for sys::pi_rates {
    fn from(rates: Rates) -> Self {
        Self {
            struct_size: struct_size::<Self>(),
            n_threads: rates.n_threads,
            one: rates.one.into(),
            many: rates.many.into(),
        }
    }
}

impl From<sys::pi_layer_plan> for LayerPlan {
    fn from(raw: sys::pi_layer_plan) -> Self {
        Self {
            uses_predictor: raw.uses_predictor != 0,
            active_share: raw.active_share,
            candidate_share: raw.candidate_share,
        }
    }
}

impl From<LayerPlan> for sys::pi_layer_plan {
    fn from(plan: LayerPlan) -> Self {
        Self {
            struct_size: struct_size::<Self>(),
            uses_predictor: plan.uses_predictor.into(),
            active_share: plan.active_share,
            candidate_share: plan.candidate_share,
        }
    }
}
