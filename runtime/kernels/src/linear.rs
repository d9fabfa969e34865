//! Views of packed linear layers. Constructing one checks every length, so the kernels need not.

use half::f16;

use crate::error::{Error, ErrorKind, check_length};

/// Output channels are padded to a multiple of this.
pub const OUTPUT_ALIGN: usize = 48;
/// Inputs of an int8 layer are padded to a multiple of this.
pub const INPUT_ALIGN_I8: usize = 64;
/// Largest number of inputs of a linear layer: 65,536 products of two int8 values fit an i32 with room to spare.
pub const MAX_INPUTS: usize = 1 << 16;
/// Largest number of outputs of a linear layer.
pub const MAX_OUTPUTS: usize = 1 << 20;

/// `n` rounded up to a multiple of [`OUTPUT_ALIGN`].
pub const fn padded_outputs(n: usize) -> usize {
    n.div_ceil(OUTPUT_ALIGN) * OUTPUT_ALIGN
}

/// `k` rounded up to a multiple of [`INPUT_ALIGN_I8`].
pub const fn padded_inputs_i8(k: usize) -> usize {
    k.div_ceil(INPUT_ALIGN_I8) * INPUT_ALIGN_I8
}

fn check_dimensions(outputs: usize, inputs: usize) -> Result<(), Error> {
    if outputs == 0 || outputs > MAX_OUTPUTS || inputs == 0 || inputs > MAX_INPUTS {
        return Err(Error::new(
            ErrorKind::Shape,
            format!(
                "linear of {outputs} outputs and {inputs} inputs: expected 1 to {MAX_OUTPUTS} and 1 to {MAX_INPUTS}"
            ),
        ));
    }
    Ok(())
}

/// Per-channel values: finite, and zero in the padding (the kernels compute the padded channels like any other).
fn check_channels(what: &str, values: &[f32], outputs: usize) -> Result<(), Error> {
    check_length(what, values.len(), padded_outputs(outputs), "one per output channel, padded to 48")?;
    if let Some(i) = values.iter().position(|v| !v.is_finite()) {
        return Err(Error::new(ErrorKind::Value, format!("{what}[{i}] is {}, expected a finite number", values[i])));
    }
    if let Some(i) = values[outputs..].iter().position(|&v| v != 0.0) {
        let i = outputs + i;
        return Err(Error::new(ErrorKind::Value, format!("{what}[{i}] is {} in the padding, expected 0", values[i])));
    }
    Ok(())
}

/// `y = x W^T + b` with int8 weights, symmetric per output channel: `W[n][k] = weight * scales[n]`.
///
/// `weight` is `[np/16, kp/4, 16, 4]` with `np` = outputs rounded up to 48 and `kp` = inputs rounded up to 64; padding is zero.
/// `sums[n]` is 128 times the sum of channel n's int8 weights: kernels that store activations as `u8 = i8 + 128` subtract it.
/// The sums are taken as given (checking them means reading all weights); wrong ones give wrong numbers on some kernels,
/// never an access out of bounds.
#[derive(Debug, Clone, Copy)]
pub struct LinearI8<'a> {
    pub(crate) weight: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) sums: &'a [i32],
    pub(crate) bias: &'a [f32],
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

impl<'a> LinearI8<'a> {
    /// Checks the lengths (`weight` np x kp, the others np), that scales and bias are finite, and that their padding is zero.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] or [`ErrorKind::Value`], naming the slice.
    pub fn new(
        weight: &'a [i8],
        scales: &'a [f32],
        sums: &'a [i32],
        bias: &'a [f32],
        outputs: usize,
        inputs: usize,
    ) -> Result<Self, Error> {
        check_dimensions(outputs, inputs)?;
        let (np, kp) = (padded_outputs(outputs), padded_inputs_i8(inputs));
        check_length("weight", weight.len(), np * kp, "outputs padded to 48 times inputs padded to 64")?;
        check_length("sums", sums.len(), np, "one per output channel, padded to 48")?;
        check_channels("scales", scales, outputs)?;
        check_channels("bias", bias, outputs)?;
        Ok(Self { weight, scales, sums, bias, outputs, inputs })
    }
}

macro_rules! float_linear {
    ($name:ident, $element:ty, $what:literal) => {
        #[doc = concat!("`y = x W^T + b` with ", $what, " weights, packed `[np/48, k, 48]` with `np` = outputs rounded up to 48.")]
        #[derive(Debug, Clone, Copy)]
        pub struct $name<'a> {
            pub(crate) weight: &'a [$element],
            pub(crate) bias: &'a [f32],
            pub(crate) outputs: usize,
            pub(crate) inputs: usize,
        }

        impl<'a> $name<'a> {
            /// Checks the lengths (`weight` np x inputs, `bias` np), that the bias is finite, and that its padding is zero.
            ///
            /// # Errors
            /// [`ErrorKind::Shape`] or [`ErrorKind::Value`], naming the slice.
            pub fn new(weight: &'a [$element], bias: &'a [f32], outputs: usize, inputs: usize) -> Result<Self, Error> {
                check_dimensions(outputs, inputs)?;
                check_length("weight", weight.len(), padded_outputs(outputs) * inputs, "outputs padded to 48 times inputs")?;
                check_channels("bias", bias, outputs)?;
                Ok(Self { weight, bias, outputs, inputs })
            }
        }
    };
}

float_linear!(LinearF32, f32, "f32");
float_linear!(LinearF16, f16, "f16");

/// A linear layer of any weight type.
#[derive(Debug, Clone, Copy)]
pub enum Linear<'a> {
    /// int8 weights and per-token int8 activations.
    I8(LinearI8<'a>),
    /// f16 weights, f32 arithmetic.
    F16(LinearF16<'a>),
    /// f32 weights.
    F32(LinearF32<'a>),
}

impl Linear<'_> {
    /// Number of outputs, without padding.
    pub fn outputs(&self) -> usize {
        match self {
            Self::I8(l) => l.outputs,
            Self::F16(l) => l.outputs,
            Self::F32(l) => l.outputs,
        }
    }

    /// Number of inputs, without padding.
    pub fn inputs(&self) -> usize {
        match self {
            Self::I8(l) => l.inputs,
            Self::F16(l) => l.inputs,
            Self::F32(l) => l.inputs,
        }
    }

    pub(crate) fn check(&self, name: &str, outputs: usize, inputs: usize) -> Result<(), Error> {
        if (self.outputs(), self.inputs()) == (outputs, inputs) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Shape,
            format!("{name}: {} outputs of {} inputs, expected {outputs} of {inputs}", self.outputs(), self.inputs()),
        ))
    }
}

impl<'a> From<LinearI8<'a>> for Linear<'a> {
    fn from(linear: LinearI8<'a>) -> Self {
        Self::I8(linear)
    }
}

impl<'a> From<LinearF16<'a>> for Linear<'a> {
    fn from(linear: LinearF16<'a>) -> Self {
        Self::F16(linear)
    }
}

impl<'a> From<LinearF32<'a>> for Linear<'a> {
    fn from(linear: LinearF32<'a>) -> Self {
        Self::F32(linear)
    }
}

/// Weight and bias of a layer norm, both `[H]`.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) bias: &'a [f32],
}

impl<'a> Norm<'a> {
    /// Checks that both have the same, non-zero length.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`].
    pub fn new(weight: &'a [f32], bias: &'a [f32]) -> Result<Self, Error> {
        check_length("norm bias", bias.len(), weight.len(), "as many as norm weights")?;
        if weight.is_empty() {
            return Err(Error::new(ErrorKind::Shape, "norm weight: 0 elements, expected one per hidden unit"));
        }
        Ok(Self { weight, bias })
    }
}

/// A small dense layer as the heads use it: f32, row-major `[outputs, inputs]`, not packed.
#[derive(Debug, Clone, Copy)]
pub struct Dense<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) bias: &'a [f32],
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

impl<'a> Dense<'a> {
    /// Checks the lengths: `weight` outputs x inputs, `bias` outputs.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`].
    pub fn new(weight: &'a [f32], bias: &'a [f32], outputs: usize, inputs: usize) -> Result<Self, Error> {
        check_dimensions(outputs, inputs)?;
        check_length("dense weight", weight.len(), outputs * inputs, "outputs times inputs")?;
        check_length("dense bias", bias.len(), outputs, "one per output")?;
        Ok(Self { weight, bias, outputs, inputs })
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }
}
