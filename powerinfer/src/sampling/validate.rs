//! Checks of the sampling options: each value against its range.

use super::{SamplerKind, Sampling, SamplingError};

impl Sampling {
    /// Checks every option, those that name tokens against a vocabulary of `vocab_size` tokens.
    ///
    /// # Errors
    ///
    /// [`SamplingError::OutOfRange`], [`SamplingError::DuplicateSampler`],
    /// [`SamplingError::UnknownToken`] or [`SamplingError::VocabularySize`].
    pub fn validate(&self, vocab_size: usize) -> Result<(), SamplingError> {
        self.validate_ranges()?;
        if vocab_size == 0 || vocab_size as u64 > 1 << 32 {
            return Err(SamplingError::VocabularySize { found: vocab_size });
        }
        for &token in self.logit_bias.keys() {
            check_token("logit_bias", token, vocab_size)?;
        }
        Ok(())
    }

    /// Checks the options that need no vocabulary.
    ///
    /// # Errors
    ///
    /// [`SamplingError::OutOfRange`] or [`SamplingError::DuplicateSampler`].
    pub fn validate_ranges(&self) -> Result<(), SamplingError> {
        let above_zero = |x: f32| x.is_finite() && x > 0.0;
        let share = |x: f32| (0.0..=1.0).contains(&x);
        let openai = |x: f32| (-2.0..=2.0).contains(&x);
        check("top_p", self.top_p, "0 to 1", share)?;
        check("min_p", self.min_p, "0 to 1", share)?;
        check("tfs_z", self.tfs_z, "0 to 1", share)?;
        check("typical_p", self.typical_p, "0 to 1", share)?;
        check("temperature", self.temperature, "a finite number, 0 (greedy) or above", |x| {
            x.is_finite() && x >= 0.0
        })?;
        check("repeat_penalty", self.repeat_penalty, "a finite number above 0", above_zero)?;
        check("frequency_penalty", self.frequency_penalty, "-2 to 2", openai)?;
        check("presence_penalty", self.presence_penalty, "-2 to 2", openai)?;
        check("mirostat_tau", self.mirostat_tau, "a finite number above 0", above_zero)?;
        check("mirostat_eta", self.mirostat_eta, "a finite number above 0", above_zero)?;
        for &bias in self.logit_bias.values() {
            check("logit_bias", bias, "finite numbers (-100 bans a token)", f32::is_finite)?;
        }
        check_order(&self.order)
    }
}

fn check(
    field: &'static str,
    value: f32,
    wanted: &'static str,
    accepts: impl Fn(f32) -> bool,
) -> Result<(), SamplingError> {
    if accepts(value) {
        return Ok(());
    }
    Err(SamplingError::OutOfRange { field, wanted, found: value })
}

fn check_order(order: &[SamplerKind]) -> Result<(), SamplingError> {
    for (position, &sampler) in order.iter().enumerate() {
        if order[..position].contains(&sampler) {
            return Err(SamplingError::DuplicateSampler { sampler });
        }
    }
    Ok(())
}

/// Checks that the vocabulary has `token`, which was given as `field`.
pub(super) fn check_token(
    field: &'static str,
    token: u32,
    vocab_size: usize,
) -> Result<(), SamplingError> {
    if (token as usize) < vocab_size {
        return Ok(());
    }
    Err(SamplingError::UnknownToken { field, token, vocab_size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sampling: &Sampling) -> (&'static str, f32) {
        match sampling.validate(100) {
            Err(SamplingError::OutOfRange { field, found, .. }) => (field, found),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_value_out_of_range_names_its_field() {
        let s = Sampling::default;
        let cases: [(Sampling, &str); 21] = [
            (s().top_p(-0.1), "top_p"),
            (s().top_p(1.01), "top_p"),
            (s().min_p(-0.1), "min_p"),
            (s().min_p(1.5), "min_p"),
            (s().tfs_z(-0.1), "tfs_z"),
            (s().tfs_z(2.0), "tfs_z"),
            (s().typical_p(-0.1), "typical_p"),
            (s().typical_p(1.1), "typical_p"),
            (s().temperature(-0.5), "temperature"),
            (s().temperature(f32::INFINITY), "temperature"),
            (s().repeat_penalty(0.0), "repeat_penalty"),
            (s().repeat_penalty(-1.0), "repeat_penalty"),
            (s().frequency_penalty(2.1), "frequency_penalty"),
            (s().frequency_penalty(-2.1), "frequency_penalty"),
            (s().presence_penalty(2.1), "presence_penalty"),
            (s().presence_penalty(-2.1), "presence_penalty"),
            (s().mirostat_tau(0.0), "mirostat_tau"),
            (s().mirostat_tau(-5.0), "mirostat_tau"),
            (s().mirostat_eta(0.0), "mirostat_eta"),
            (s().mirostat_eta(f32::INFINITY), "mirostat_eta"),
            (s().logit_bias(3, f32::INFINITY), "logit_bias"),
        ];
        for (sampling, field) in cases {
            assert_eq!(refused(&sampling).0, field, "{sampling:?}");
        }
    }

    #[test]
    fn not_a_number_is_out_of_every_range() {
        let s = Sampling::default;
        let cases = [
            s().top_p(f32::NAN),
            s().min_p(f32::NAN),
            s().tfs_z(f32::NAN),
            s().typical_p(f32::NAN),
            s().temperature(f32::NAN),
            s().repeat_penalty(f32::NAN),
            s().frequency_penalty(f32::NAN),
            s().presence_penalty(f32::NAN),
            s().mirostat_tau(f32::NAN),
            s().mirostat_eta(f32::NAN),
            s().logit_bias(0, f32::NAN),
        ];
        for sampling in cases {
            assert!(refused(&sampling).1.is_nan(), "{sampling:?}");
        }
    }

    #[test]
    fn order_vocabulary_and_tokens_are_checked() {
        let order = vec![SamplerKind::TopK, SamplerKind::MinP, SamplerKind::TopK];
        assert_eq!(
            Sampling::default().order(order).validate(10),
            Err(SamplingError::DuplicateSampler { sampler: SamplerKind::TopK })
        );
        assert_eq!(
            Sampling::default().logit_bias(10, 1.0).validate(10),
            Err(SamplingError::UnknownToken { field: "logit_bias", token: 10, vocab_size: 10 })
        );
        assert_eq!(
            Sampling::default().validate(0),
            Err(SamplingError::VocabularySize { found: 0 })
        );
        assert_eq!(Sampling::greedy().logit_bias(9, 1.0).validate(10), Ok(()));
        assert_eq!(Sampling::default().order(Vec::new()).validate(10), Ok(()));
    }

    #[test]
    fn messages_say_what_was_wanted_and_found() {
        let error = Sampling::default().temperature(-1.0).validate(10).unwrap_err();
        assert_eq!(
            error.to_string(),
            "temperature: wanted a finite number, 0 (greedy) or above, found -1"
        );
        let error = Sampling::default().top_p(1.1).validate(10).unwrap_err();
        assert_eq!(error.to_string(), "top_p: wanted 0 to 1, found 1.1");
    }
}
