//! A student with the roundings of an int8 runtime: what quantisation-aware training computes with.

use candle_core::{Tensor, Var};

use crate::{Result, Student, ops};

/// A student whose linears have the weights, and read the inputs, that an int8 bundle would give them (min-max ranges, word and
/// position embeddings with a scale a row; norms, biases and heads stay f32). [`Int8Student::restore`], or the end of this
/// value, brings the f32 weights back.
///
/// Gradients that are computed meanwhile are those of the f32 weights by the straight-through estimator (Bengio et al. 2013;
/// Jacob et al. 2018): so compute them, restore, and let the optimiser change the f32 weights.
#[derive(Debug)]
pub struct Int8Student<'s> {
    student: &'s Student,
    masters: Vec<(&'s Var, Tensor)>,
}

impl Student {
    /// Rounds weights and, from now on, the linears' inputs.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] where the device fails; then the weights are what they were.
    pub fn simulate_int8(&self) -> Result<Int8Student<'_>> {
        let mut simulated = Int8Student { student: self, masters: Vec::new() };
        self.encoder().set_round_activations(true);
        for parameter in self.encoder().rounded_parameters() {
            let var = &parameter.var;
            let master = var.as_detached_tensor().copy()?;
            let rounded = ops::round_weights(&master)?;
            simulated.masters.push((var, master));
            var.set(&rounded)?;
        }
        Ok(simulated)
    }
}

impl Int8Student<'_> {
    /// Brings the f32 weights back.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Tensor`] where the device fails.
    pub fn restore(mut self) -> Result<()> {
        self.bring_back()
    }

    fn bring_back(&mut self) -> Result<()> {
        self.student.encoder().set_round_activations(false);
        std::mem::take(&mut self.masters).into_iter().try_for_each(|(var, master)| Ok(var.set(&master)?))
    }
}

impl Drop for Int8Student<'_> {
    fn drop(&mut self) {
        // Only on the way out of an error, which is the one to report.
        let _ = self.bring_back();
    }
}
